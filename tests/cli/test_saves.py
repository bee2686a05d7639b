"""``wirt save`` and ``restore``: what is asked of the server, and how it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from .canned import Canned
from .conftest import Run

PLAN = {
    "name": "web",
    "uuid": "8f3c6d2e-0d5b-4f5e-9d55-3f0f1a5f6c01",
    "known": False,
    "persistent": False,
    "saved_at": 0.0,
    "host": "evil \x1b[2J host",
    "hypervisor": "qemu 10.0.2",
    "memory_mib": 256,
    "memory_bytes": 100 << 20,
    "file_bytes": 30 << 20,
    "disks": [{"vdev": "xvda", "target": "default/web", "size": 1 << 30, "writable": False}],
    "doubts": ["xvda (default/web) was written since"],
    "remarks": ["it is old"],
    "text": 'name = "web"\n',
    "notices": [],
    "api": "v1",
}


def job(kind: str, result: dict[str, object]) -> dict[str, object]:
    return {
        "id": "1",
        "kind": kind,
        "subject": "web",
        "state": "done",
        "progress": 1.0,
        "message": "",
        "steps": [],
        "created_at": 0.0,
        "finished_at": 1.0,
        "result": result,
        "notices": [],
    }


def test_a_save_names_its_file_absolutely_and_tells_how_large_it_is(wirt: Run, wirtd: Canned) -> None:
    result = {"file": "/srv/web", "bytes": 28 << 20, "memory_bytes": 81 << 20}
    wirtd.routes["POST /v1/domains/web/save"] = (200, job("save", result))
    shown = wirt("save", "-p", "web", "/srv/web")
    assert (shown.code, shown.out) == (0, "web is saved to /srv/web (28 MiB, 81 MiB of memory)\n")
    body = wirtd.requests[-1].body
    assert body == {"file": "/srv/web", "running": False, "paused": True, "force": False, "configuration": None}
    assert shown.err == ""
    wirtd.routes["POST /v1/domains/web/save"] = (200, job("save", {**result, "writes": ["xvda", "xvdb"]}))
    shown = wirt("save", "-c", "--force", "web", "here")
    assert shown.err == "Once the domain has written xvda, xvdb, the file can't go on with that.\n"
    assert wirt("save", "web", "here").err == ""
    wirt("save", "-c", "--force", "web", "here")
    body = wirtd.requests[-1].body
    assert body["file"].startswith("/") and body["file"].endswith("/here")
    assert (body["running"], body["force"]) == (True, True)


def test_a_restore_is_planned_and_shown_without_moving_the_terminals_cursor(wirt: Run, wirtd: Canned) -> None:
    wirtd.routes["POST /v1/restore-plan"] = (200, PLAN)
    shown = wirt("restore", "-n", "/srv/web")
    assert shown.code == 0
    for line in (
        "domain       : web, which would be made",
        "when it ends : is forgotten",
        "memory       : 256 MiB; 100 MiB of it in 30 MiB",
        "disk xvda    : default/web, 1 GiB, read-only",
        "forced       : xvda (default/web) was written since",
        "remark       : it is old",
    ):
        assert line in shown.out.splitlines()
    assert shown.out.endswith('\n\n  name = "web"\n')
    assert "evil \\x1b[2J host" in shown.out


def test_a_configuration_stands_before_the_file_as_with_xl(wirt: Run, wirtd: Canned, tmp_path: Path) -> None:
    (tmp_path / "web.cfg").write_text('name = "web"\n')
    wirtd.routes["POST /v1/restore"] = (200, job("restore", {"name": "web", "domid": 7, "uuid": PLAN["uuid"]}))
    shown = wirt("restore", "-e", "-p", str(tmp_path / "web.cfg"), "/srv/web")
    assert (shown.code, shown.out) == (0, "web is paused as domain 7\n")
    body = wirtd.requests[-1].body
    assert (body["file"], body["paused"], body["configuration"]["text"]) == ("/srv/web", True, 'name = "web"\n')


@pytest.mark.parametrize(
    ("words", "told"),
    [(("save", "web"), "FILE"), (("restore",), "FILE"), (("restore", "a", "b", "c"), "configuration before it")],
)
def test_a_command_line_that_can_t_be_right_is_told(wirt: Run, words: tuple[str, ...], told: str) -> None:
    shown = wirt(*words)
    assert (shown.code, shown.out) == (2, "")
    assert told in shown.err
