"""``wirt create``: what is sent, what is said, and that Ctrl-C leaves nothing half made."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from . import samples
from .canned import Answer, Canned, Request, problem
from .conftest import Run

CONFIG = 'name = "web"\nmemory = 128\n'


@pytest.fixture
def config(home: Path) -> str:
    path = home / "web.cfg"
    path.write_text(CONFIG)
    return str(path)


def test_create_sends_the_text_and_where_relative_paths_start(wirtd: Canned, wirt: Run, config: str) -> None:
    wirtd.routes["POST /v1/domains"] = (202, samples.job())
    result = wirt("create", "-p", config, "memory=256", "-d", "vcpus=2")
    assert (result.code, result.out) == (0, "web is paused as domain 3\n")
    assert wirtd.requests[0].body == {
        "text": CONFIG,
        "file": config,
        "cwd": str(Path.cwd()),
        "overrides": ["memory=256", "vcpus=2"],
        "paused": True,
        "persistent": False,
        "start": True,
    }
    assert "wirt: web: reserve memory: done\n" in result.err


def test_define_keeps_and_does_not_start(wirtd: Canned, wirt: Run, config: str) -> None:
    wirtd.routes["POST /v1/domains"] = (202, samples.job())
    assert wirt("define", "-f", config).out == "web is defined\n"
    body = wirtd.requests[0].body
    assert (body["persistent"], body["start"], body["paused"]) == (True, False, False)


def test_quiet_says_nothing_and_json_prints_the_job(wirtd: Canned, wirt: Run, config: str) -> None:
    wirtd.routes["POST /v1/domains"] = (202, samples.job())
    assert wirt("create", "-q", config).out == ""
    assert json.loads(wirt("create", "-o", "json", config).out) == samples.job()


def test_a_configuration_may_come_from_standard_input_or_from_words(wirtd: Canned, wirt_process: Run) -> None:
    wirtd.routes["POST /v1/domains"] = (202, samples.job())
    for file in ("-", "/dev/stdin"):
        assert wirt_process("create", file, stdin=CONFIG).code == 0
    assert wirt_process("create", 'name="web"', "kernel='/k'").code == 0
    assert [(request.body["text"], request.body["file"]) for request in wirtd.requests] == [
        (CONFIG, "<stdin>"),
        (CONFIG, "<stdin>"),
        ("", "<command line>"),
    ]


def test_notices_are_told_as_compilers_tell_them(wirtd: Canned, wirt: Run, config: str) -> None:
    notice = {"message": "not known", "key": "colour", "file": "web.cfg", "line": 3, "column": 1}
    wirtd.routes["POST /v1/domains"] = (202, samples.job(notices=[notice, {"message": "odd"}]))
    assert wirt("create", config).err == "web.cfg:3:1: warning: colour: not known\nwarning: odd\n"


def test_notices_are_told_once_whether_the_first_answer_has_them_or_the_last(
    wirtd: Canned, wirt: Run, config: str
) -> None:
    first, both, last = ({"message": message} for message in ("first", "both", "last"))
    wirtd.routes["POST /v1/domains"] = (202, samples.job("running", notices=[first, both]))
    wirtd.routes["GET /v1/jobs/j1"] = (200, samples.job(notices=[both, last]))
    result = wirt("create", config, "-o", "json")
    assert result.err == "warning: first\nwarning: both\nwarning: last\n"
    assert json.loads(result.out)["notices"] == [first, both, last]


def test_a_job_that_fails_says_why_after_its_notices(wirtd: Canned, wirt: Run, config: str) -> None:
    error = {"code": "launch-failed", "message": "QEMU ended at once", "hint": "see the log"}
    wirtd.routes["POST /v1/domains"] = (202, samples.job("running"))
    wirtd.routes["GET /v1/jobs/j1"] = (200, samples.job("failed", error=error, notices=[{"message": "odd"}]))
    result = wirt("create", config, "-o", "json")
    assert result.code == 1
    assert result.err == "warning: odd\nwirt: QEMU ended at once\n  hint: see the log\n"
    assert json.loads(result.out)["error"]["code"] == "launch-failed"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "there is no such file"),
        (b"name = 1\nmemory = \xff\n", "cfg:2: not UTF-8 text (byte 0xff)"),
        (b"#" * 2_000_000, "larger than 1 MiB"),
    ],
    ids=["missing", "binary", "huge"],
)
def test_a_file_that_can_not_be_a_configuration_is_not_sent(
    wirtd: Canned, wirt: Run, home: Path, content: bytes | None, expected: str
) -> None:
    path = home / "bad.cfg"
    if content is not None:
        path.write_bytes(content)
    result = wirt("create", str(path))
    assert result.code == 1
    assert expected in result.err
    assert wirtd.requests == []


PREVIEW = {
    "text": CONFIG,
    "config": {"name": "web"},
    "plan": {"domain": "web", "devices": [{"kind": "disk", "path": "/d"}], "limits": {}},
    "command": ["qemu-system-x86_64", "-name", "guest=we b"],
    "notices": [{"message": "odd"}],
    "api": "v1",
}


def test_dry_run_shows_configuration_plan_and_command_and_creates_nothing(
    wirtd: Canned, wirt: Run, config: str
) -> None:
    wirtd.routes["POST /v1/plan"] = (200, PREVIEW)
    result = wirt("create", "-n", config)
    assert result.out == (
        "# configuration\n" + CONFIG + "\n"
        "# plan\ndomain: web\ndevices:\n  -\n    kind: disk\n    path: /d\nlimits: none\n\n"
        "# command\nqemu-system-x86_64 -name 'guest=we b'\n"
    )
    assert result.err == "warning: odd\n"
    assert json.loads(wirt("-N", "create", config, "-o", "json").out) == PREVIEW
    assert wirtd.asked() == ["POST /v1/plan", "POST /v1/plan"]


def test_foreground_returns_when_the_domain_has_ended(wirtd: Canned, wirt: Run, config: str) -> None:
    answers = iter([problem(504, "not yet"), problem(404, "gone")])
    wirtd.routes |= {
        "POST /v1/domains": (202, samples.job()),
        f"GET /v1/domains/{samples.UUID}/wait": lambda _: next(answers),
    }
    result = wirt("create", "-F", config)
    assert (result.code, result.err) == (0, "wirt: web has ended\n")


class Interrupted:
    """A create during which Ctrl-C is pressed as soon as ``at`` has been asked for."""

    def __init__(self, wirtd: Canned, config: str, at: str, *, times: int = 1) -> None:
        self._held: queue.Queue[threading.Event] = queue.Queue()
        wirtd.routes |= {
            "POST /v1/domains": lambda request: self._answer(request, 202, at),
            "GET /v1/jobs/j1": lambda request: self._answer(request, 200, at),
            "POST /v1/jobs/j1/cancel": lambda request: self._answer(request, 200, at),
        }
        self._cancelled = False
        process = subprocess.Popen(
            [sys.executable, "-m", "wirt.cli.main", "create", config],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(times):
            answer_it = self._held.get(timeout=10)
            process.send_signal(signal.SIGINT)
            # The signal must have been seen before the answer is.
            threading.Timer(0.2, answer_it.set).start()
        self.out, self.err = (stream.decode() for stream in process.communicate(timeout=20))
        self.code = process.returncode

    def _answer(self, request: Request, status: int, at: str) -> Answer:
        if request.target.endswith("/cancel"):
            self._cancelled = True
            state = "undoing"
        else:
            state = "cancelled" if self._cancelled and request.method == "GET" else "running"
        if f"{request.method} {request.target}".startswith(at):
            go_on = threading.Event()
            self._held.put(go_on)
            go_on.wait(1)
        return status, samples.job(state)


@pytest.mark.parametrize("at", ["POST /v1/domains", "GET /v1/jobs/j1"])
def test_ctrl_c_cancels_the_job_and_waits_until_it_is_undone(wirtd: Canned, config: str, at: str) -> None:
    run = Interrupted(wirtd, config, at)
    assert (run.code, run.out) == (130, "")
    assert run.err == ("wirt: undoing create of web ...\nwirt: create of web was cancelled and undone\n")
    asked = wirtd.asked()
    assert asked[-2:] == ["POST /v1/jobs/j1/cancel", "GET /v1/jobs/j1?wait_s=5&progress=0.25"]
    assert asked.count("POST /v1/domains") == 1


def test_a_second_ctrl_c_leaves_the_undoing_to_the_daemon(wirtd: Canned, config: str) -> None:
    run = Interrupted(wirtd, config, "GET /v1/jobs/j1", times=2)
    assert run.code == 130
    assert run.err.endswith("wirt: wirtd goes on undoing job j1; wirt jobs shows how far it is\n")
    assert "POST /v1/jobs/j1/cancel" in wirtd.asked()
