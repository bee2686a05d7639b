"""The jail as a user without rights builds it: what it keeps, and that it says what it can't."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from .kit import COULD, COULD_NOT, outside
from .test_breakout import NOBODY

pytestmark = [pytest.mark.root]

ROOT = Path(__file__).resolve().parents[2]


def test_without_root_the_jail_holds_but_for_what_it_says(breakout: Path, open_place: Path) -> None:
    """The decoys are the user's own, so that outside of the jail nothing stands in the way."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become a user who has no rights: sudo make test")
    disk = open_place / "rootless.img"
    disk.write_bytes(b"decoy")
    disk.chmod(0o666)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        neighbour = subprocess.Popen([*NOBODY, "sh", "-c", "trap '' USR1; exec sleep 60"])
        try:
            must_fail = [
                f"read {disk}",
                f"write {disk}",
                f"create {open_place}/new",
                f"tcp 127.0.0.1 {listener.getsockname()[1]}",
                f"signal {neighbour.pid}",
                f"ptrace {neighbour.pid}",
                "processes",
                "netlink",
                "user-namespace",
                "environment PATH",
                "fork 64",
                "raise-limit",
            ]
            must_fail_within = [
                "setuid",
                "capability",
                "module",
                f"mknod {open_place}/node",
                f"mount {open_place}",
            ]
            open_place.chmod(0o777)
            seen = {
                line: outside(breakout, *line.split(), before=NOBODY)
                for line in must_fail
                if line != "raise-limit"
            }
            told = _as_nobody(breakout, [*must_fail, *must_fail_within])
        finally:
            open_place.chmod(0o755)
            neighbour.kill()
            neighbour.wait()

    assert {line: said.text for line, said in seen.items() if said.status != COULD} == {}
    could = {line: text for line, (status, text) in told["answers"].items() if status != COULD_NOT}
    assert could == {}
    assert told["claims"]["namespaces"] and told["claims"]["capabilities"] and told["claims"]["files"]
    assert not told["claims"]["uid"], "all guests of a user share his uid, and it must be said"
    assert not told["claims"]["logs"]


def _as_nobody(breakout: Path, lines: list[str]) -> dict[str, dict[str, list[object]]]:
    done = subprocess.run(
        [*NOBODY, sys.executable, "-m", "tests.sandbox.rootless", str(breakout)],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": "src", "PYTHONDONTWRITEBYTECODE": "1"},
        timeout=50,
        check=False,
    )
    if "user namespaces" in done.stderr or "No permissions to creat" in done.stdout + done.stderr:
        pytest.skip("needs user namespaces for everybody: sysctl kernel.unprivileged_userns_clone=1")
    if done.returncode != 0 and "Permission denied" in done.stderr:
        pytest.skip(f"needs {ROOT} to be readable by all: chmod o+x its parents")
    assert done.returncode == 0, done.stderr
    answers: dict[str, dict[str, list[object]]] = json.loads(done.stdout)
    return answers
