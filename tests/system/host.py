"""One host of a test's own: a home, its ``wirtd``, and ``wirt`` commands, all as a user starts them.

Everything that belongs to it carries a word in its environment, QEMUs included, so that whatever a test did to
the daemon its processes are found again and ended by their number.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wirt.wire.home import Home, find_home

from . import api
from .leftovers import clear_runs, recorded

SOURCE = Path(__file__).resolve().parents[2] / "src"
PATIENCE = 5.0 if "WIRT_TESTHOST" in os.environ else 1.0
"""In the test host everything takes ten times as long."""
COMMAND_S = 90.0 * PATIENCE
"""For one command. Far more than any needs, because other work may hold both CPUs."""
START_S = 60.0 * PATIENCE
END_S = 20.0 * PATIENCE
TAG = "WIRT_TEST_HOST"


def program(name: str) -> list[str]:
    """``wirt`` or ``wirtd`` as it was installed beside this Python; its module where nothing was installed."""
    script = Path(sys.executable).with_name(name)
    module = {"wirt": "wirt.cli.main", "wirtd": "wirt.daemon.main"}[name]
    return [str(script)] if script.exists() else [sys.executable, "-m", module]


@dataclass(frozen=True, slots=True)
class Result:
    """What a command did. ``err`` also holds its hints."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Host:
    """``scratch`` is for files that belong to the test. ``prefix`` is a command that runs others (``ip netns exec
    X``, ``setpriv ...``); ``home`` of ``None`` leaves the choice to wirt, by ``environment``."""

    def __init__(
        self,
        home: Path | None,
        scratch: Path,
        *,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        uid: int | None = None,
    ) -> None:
        self.scratch = scratch
        self.prefix = list(prefix)
        self._tag = uuid.uuid4().hex
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("WIRT_")}
        self.environment = {
            **inherited,
            "PYTHONPATH": str(SOURCE),
            "WIRT_NO_AUTOSTART": "1",
            **({"WIRT_HOME": str(home)} if home is not None else {}),
            **(environment or {}),
            TAG: self._tag,
        }
        self.home: Home = find_home(self.environment, os.getuid() if uid is None else uid)
        self._daemon: subprocess.Popen[bytes] | None = None
        self._killed: list[int] = []
        self.log = scratch / "wirtd.stderr"

    # The daemon

    def start(self) -> None:
        """Returns once it serves. Fails with its own words if it does not."""
        assert self._daemon is None or self._daemon.poll() is not None, "a daemon runs already"
        with self.log.open("ab") as output:
            self._daemon = self.spawn("wirtd", stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        wait_until(
            lambda: self._daemon_ended() or self._listener() not in (None, *self._killed),
            START_S,
            "wirtd to serve",
        )
        assert not self._daemon_ended(), self.log.read_text(errors="replace")[-3000:]

    @property
    def pid(self) -> int:
        """The daemon's, as it wrote it down itself."""
        return int(Path(self.home.lock).read_text())

    def kill9(self) -> None:
        """The daemon is gone without a word."""
        daemon, self._daemon = self._daemon, None
        assert daemon is not None, "this daemon was not started by start()"
        self._killed.append(daemon.pid)
        daemon.kill()
        daemon.wait(END_S)

    def stop(self) -> int:
        """Ask the daemon to end; its exit code."""
        assert self._daemon is not None, "this daemon was not started by start()"
        self._daemon.terminate()
        return self.ended()

    def ended(self) -> int:
        """The exit code of a daemon that is ending."""
        daemon, self._daemon = self._daemon, None
        assert daemon is not None, "this daemon was not started by start()"
        return daemon.wait(END_S)

    def serves(self) -> bool:
        """Whether someone answers at the socket, however long its path is."""
        return self._listener() is not None

    def _listener(self) -> int | None:
        """Who listens at the socket. What a daemon was starting when it was killed may have its socket open for a
        moment longer, and then it is the dead one (unix(7), SO_PEERCRED)."""
        try:
            with api.opened(self.socket) as client:
                credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return None
        pid: int = struct.unpack("3i", credentials)[0]
        return pid

    @property
    def socket(self) -> Path:
        return Path(self.home.socket)

    def _daemon_ended(self) -> bool:
        return self._daemon is not None and self._daemon.poll() is not None

    # Commands

    def run(self, *words: str, stdin: str = "", timeout_s: float = COMMAND_S, **environment: str) -> Result:
        done = subprocess.run(
            [*self.prefix, *program("wirt"), *words],
            input=stdin.encode(),
            capture_output=True,
            timeout=timeout_s,
            env={**self.environment, **environment},
            cwd=self.scratch,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def ok(self, *words: str, stdin: str = "") -> Result:
        """A command that must succeed."""
        result = self.run(*words, stdin=stdin)
        assert result.code == 0, f"wirt {' '.join(words)}: {result.err}{self.daemon_log()}"
        return result

    def json(self, *words: str) -> Any:
        return self.ok("-o", "json", *words).json

    def fails(self, *words: str, stdin: str = "") -> str:
        """What a command that must fail tells a person: exit code 1, nothing printed as a result, no traceback."""
        result = self.run(*words, stdin=stdin)
        assert result.code == 1, f"wirt {' '.join(words)} ended with {result.code}: {result.out}{result.err}"
        assert "Traceback" not in result.err, result.err
        assert "fault in wirt" not in result.err, f"{result.err}{self.daemon_log()}"
        assert "wirt: " in result.err, result.err
        return result.err

    def spawn(self, name: str, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """``wirt`` or ``wirtd`` in the background; :meth:`close` ends it at the latest."""
        command = [*self.prefix, *program(name), *words]
        return subprocess.Popen(command, env=self.environment, cwd=self.scratch, **options)

    def domain(self, name: str) -> dict[str, Any]:
        """The domain ``name`` as the API shows it."""
        answer = api.request(self.socket, "GET", f"/v1/domains/{name}")
        assert answer.status == 200, answer
        found = answer.document["domain"]
        assert isinstance(found, dict)
        return found

    def names(self) -> list[str]:
        """Every domain that is known, running or not, but Domain-0."""
        domains = api.request(self.socket, "GET", "/v1/domains?all=1").document["domains"]
        return [domain["name"] for domain in domains if domain["domid"] != 0]

    def write(self, name: str, text: str) -> str:
        """A file of the test's own; its path."""
        path = self.scratch / name
        path.write_text(text)
        return str(path)

    # What is there, and how it ends

    def processes(self) -> dict[int, str]:
        """Every living process of this host and its command line. A zombie is dead."""
        word = f"{TAG}={self._tag}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if word in (entry / "environ").read_bytes().split(b"\0"):
                        found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    continue
        return found

    def guests(self) -> dict[int, str]:
        """Those that run guests: of a jail, which hides the environment, what is in it."""
        outside = {pid: command for pid, command in self.processes().items() if "console.log" in command}
        return {inside: command for pid, command in outside.items() for inside in children(pid) or [pid]}

    def leftovers(self) -> list[str]:
        """What is there of domains: processes, directories, records. Empty once all have been destroyed."""
        runs = Path(self.home.domains)
        directories = [f"the directory {path}" for path in runs.iterdir()] if runs.is_dir() else []
        return (
            [f"process {pid}: {command}" for pid, command in self.guests().items()]
            + directories
            + recorded(Path(self.home.store), self.scratch)
        )

    def assert_nothing_left(self) -> None:
        left = self.leftovers()
        assert not left, "\n".join(left) + self.daemon_log()

    def tidy(self) -> None:
        """End every domain as a user does, and see that nothing is left of any."""
        if names := self.names():
            self.run("destroy", *names)
        for name in self.names():
            self.run("undefine", name)
        self.assert_nothing_left()

    def finish(self) -> None:
        """Tidy, and end the daemon. If it ended before, another one tidies."""
        if not self.serves():
            if self._daemon is not None:
                self.ended()
            self.start()
        self.tidy()
        if self._daemon is not None:
            assert self.stop() == 0, self.daemon_log()

    def close(self) -> None:
        """Every process of this host is gone, whatever became of the test; the daemon first, or it would restart
        guests."""
        if self._daemon is not None:
            self._daemon.kill()
        deadline = time.monotonic() + END_S
        while left := self.processes():
            assert time.monotonic() < deadline, f"these can't be killed: {left}"
            for pid, command in sorted(left.items(), key=lambda each: "console.log" in each[1]):
                end_process(pid, command)
            time.sleep(0.02)
        if self._daemon is not None:
            self._daemon.wait(END_S)
        clear_runs(Path(self.home.domains))

    def daemon_log(self) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return f"\nwirtd said:\n{text[-3000:]}"


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def end_process(pid: int, command: str) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    except PermissionError:
        raise AssertionError(f"process {pid} may not be ended: {command}") from None


def wait_until(what: Callable[[], object], within_s: float, name: str) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, f"waited {within_s:g} s for {name}"
        time.sleep(0.03)


@contextmanager
def a_host(home: Path | None, scratch: Path, *, start: bool = True, **options: Any) -> Iterator[Host]:
    """A host that serves, and is gone at the end with everything on it; what was left over is a failure."""
    host = Host(home, scratch, **options)
    try:
        if start:
            host.start()
        yield host
        host.finish()
    finally:
        host.close()
