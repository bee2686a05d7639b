"""The half of the plugin that is loaded outside: tests marked ``testhost`` come last and run in the test host, all
in one pytest there; what is reported there is reported here, as each test ends.

``testhost("nodes")`` asks for a machine of that shape (:data:`.recipe.SHAPES`): those come after the others, in
one of their own.

Inside (``WIRT_TESTHOST=1``) they are tests like others.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import pytest

from . import payload, recipe
from .commands import Failed
from .machine import HOME, Machine, a_machine

INSIDE = "WIRT_TESTHOST"
TEST_S = 600.0
"""For one test. Under emulation a boot takes ten times as long, and other work may hold both CPUs."""
START_S = 600.0
"""Until the first test begins: Python starts, pytest collects."""
RUN = 'exec 3>&1 >&2; exec /opt/wirt/bin/python -m pytest -p tests.testhost.inside -p no:cacheprovider "$@"'


class NeedsRoot(Exception):
    def __str__(self) -> str:
        return "needs root, who alone may build the test host: sudo make test"


class Run:
    """All marked tests of a session, in one pytest inside. Its reports are fetched test by test."""

    def __init__(self, machine: Machine, nodes: Sequence[str]) -> None:
        self._machine = machine
        self._documents: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._said = bytearray()
        self._unread = b""
        self._begun = False
        self._over = ""
        self._deadline_s = START_S + TEST_S * len(nodes)
        self._thread = threading.Thread(target=self._run, args=(list(nodes),), name="testhost pytest", daemon=True)
        self._thread.start()

    def reports(self, node: str) -> Iterator[dict[str, Any]]:
        """Those of one test, which the run must come to next. ``Failed`` if it does not, with what was said."""
        while not self._over:
            deadline_s = TEST_S if self._begun else START_S
            try:
                document = self._documents.get(timeout=deadline_s)
            except queue.Empty:
                self._give_up(f"nothing came from the test host for {deadline_s:g} s")
                break
            self._begun = True
            if "over" in document:
                self._over = document["over"]
            elif "not_collected" in document:
                self._over = f"pytest inside can't collect {document['not_collected']}"
            elif document.get("finished") == node:
                return
            elif "report" in document and document["report"]["nodeid"] == node:
                yield document["report"]
        raise Failed(f"{self._over}\n{self._said.decode(errors='replace')[-4000:]}")

    def _give_up(self, reason: str) -> None:
        self._over = reason
        self._machine.close()

    def _run(self, nodes: list[str]) -> None:
        over = "pytest inside did not run it"
        try:
            done = self._machine.run(
                *("bash", "-c", RUN, "pytest", *nodes),
                timeout_s=self._deadline_s,
                cwd=HOME,
                environment={INSIDE: "1", "WIRT_BREAKOUT": payload.BREAKOUT, "PATH": f"/opt/wirt/bin:{PATH}"},
                listener=self._listen,
            )
            over = f"pytest inside ended with {done.code} and did not run it"
        except Failed as error:
            over = str(error)
        finally:
            self._documents.put({"over": over})

    def _listen(self, stream: str, data: bytes) -> None:
        if stream == "err":
            self._said += data
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._documents.put(json.loads(line))


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Plugin:
    """Runs the marked tests, each shape's in a machine that is begun with the first of them. Tests outside drive
    another one."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._stack = ExitStack()
        self._runs: dict[str, Run] = {}
        self._failures: dict[str, Failed] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: (is_marked(item), shape_of(item)))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        if not is_marked(item):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        begin = time.time()
        try:
            if os.geteuid() != 0:
                raise NeedsRoot
            for data in self._started(item.session, shape_of(item)).reports(item.nodeid):
                if isinstance(data["longrepr"], list):  # a skip's reason: JSON knows no tuples
                    data["longrepr"] = tuple(data["longrepr"])
                report = item.config.hook.pytest_report_from_serializable(config=item.config, data=data)
                item.ihook.pytest_runtest_logreport(report=report)
        except NeedsRoot as reason:
            item.ihook.pytest_runtest_logreport(report=_report(item, "skipped", str(reason), begin))
        except Failed as error:
            item.ihook.pytest_runtest_logreport(report=_report(item, "failed", str(error), begin))
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        self._stack.close()

    def _started(self, session: pytest.Session, shape: str) -> Run:
        if shape in self._failures:
            raise self._failures[shape]
        if shape not in self._runs:
            self._stack.close()  # those of another shape have run
            try:
                marked = [item for item in session.items if is_marked(item) and shape_of(item) == shape]
                self._runs[shape] = self._start(marked, shape)
            except Failed as error:
                self._failures[shape] = error
                raise
        return self._runs[shape]

    def _start(self, items: Sequence[pytest.Item], shape: str) -> Run:
        machine = self._stack.enter_context(a_machine(cache() / "testhost", self.say, shape))
        machine.put_work_tree()
        needed = {name for item in items for name in getattr(item, "fixturenames", ())}
        if "tiny" in needed:
            payload.put_tiny(machine, cache())
        if "breakout" in needed:
            payload.put_breakout(machine)
        return Run(machine, [item.nodeid for item in items])

    def say(self, text: str) -> None:
        """Past pytest's capture."""
        capture = self._config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            print(f"\ntesthost: {text}", file=sys.stderr, flush=True)


def cache() -> Path:
    return Path(os.environ.get("WIRT_TEST_CACHE", Path(__file__).resolve().parents[2] / ".cache"))


def is_marked(item: pytest.Item) -> bool:
    return item.get_closest_marker("testhost") is not None


def shape_of(item: pytest.Item) -> str:
    marker = item.get_closest_marker("testhost")
    return recipe.USUAL if marker is None or not marker.args else str(marker.args[0])


def _report(
    item: pytest.Item, outcome: Literal["failed", "skipped"], reason: str, begin: float
) -> pytest.TestReport:
    keywords: dict[str, Literal[1]] = dict.fromkeys(item.keywords, 1)
    said = reason if outcome == "failed" else (str(item.path), (item.location[1] or 0) + 1, f"Skipped: {reason}")
    when: Literal["setup", "call"] = "call" if outcome == "failed" else "setup"
    stop = time.time()
    return pytest.TestReport(
        item.nodeid, item.location, keywords, outcome, said, when, duration=stop - begin, start=begin, stop=stop
    )


def pytest_configure(config: pytest.Config) -> None:
    if INSIDE not in os.environ:
        config.pluginmanager.register(Plugin(config), "testhost-outside")


@pytest.fixture(scope="session")
def testhost(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A test host with the work tree in it, for tests that stand outside and drive it by commands."""
    say: Callable[[str], None] = request.config.pluginmanager.getplugin("testhost-outside").say
    try:
        with a_machine(cache() / "testhost", say) as machine:
            machine.put_work_tree()
            yield machine
    except Failed as error:
        pytest.fail(str(error), pytrace=False)
