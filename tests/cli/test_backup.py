"""``wirt backup`` and ``wirt restore-backup``: what is asked of the daemon, what is shown, what is refused
before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from .canned import Canned
from .conftest import Run

BACKUP = {
    "id": "web-1",
    "domain": "web",
    "uuid": "11111111-2222-3333-4444-555555555555",
    "host": "a",
    "created_at": 0.0,
    "kind": "full",
    "state": "running",
    "path": "/srv/b",
    "hypervisor": "qemu 10.0.2",
    "reason": "it is the first one here",
    "size": 10 << 30,
    "moved": 3 << 30,
    "stored": 1 << 30,
    "consistency": "filesystem",
}
DISK = {
    "vdev": "xvda",
    "size": 10 << 30,
    "format": "qcow2",
    "kind": "full",
    "moved": 3 << 30,
    "changed": 2 << 30,
    "stored": 1 << 30,
}


def done(result: Mapping[str, object]) -> dict[str, object]:
    return {
        "id": "j1",
        "kind": "backup",
        "subject": "web",
        "state": "done",
        "progress": 1.0,
        "message": "",
        "created_at": 0.0,
        "steps": [],
        "result": result,
    }


def test_backups_are_listed_and_what_can_not_be_read_is_said(wirtd: Canned, wirt: Run) -> None:
    document = {"api": "v1", "backups": [BACKUP], "problems": ["backup x is damaged"]}
    wirtd.routes[f"GET /v1/backups?source=b&cwd={str(Path.cwd()).replace('/', '%2F')}"] = (200, document)
    done_ = wirt("backup", "list", "--from", "b")
    assert done_.out.splitlines()[1].split() == [
        "web-1",
        "web",
        *_local(),
        "full",
        "filesystem",
        "10",
        "GiB",
        "1",
        "GiB",
    ]
    assert "backup x is damaged" in done_.err


def _local() -> list[str]:
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(0.0)).split()


def test_one_is_shown_with_its_disks(wirtd: Canned, wirt: Run) -> None:
    document = {"api": "v1", "backup": BACKUP, "disks": [DISK], "config": ""}
    wirtd.routes["GET /v1/backups/web-1"] = (200, document)
    shown = wirt("backup", "info", "web-1").out
    assert "kind                   : full (it is the first one here)\n" in shown
    assert "consistency            : filesystem (the guest held its file systems)\n" in shown
    assert "xvda  qcow2   full  10 GiB  3 GiB  1 GiB" in shown


def test_a_backup_tells_what_was_read_and_why_it_is_full(wirtd: Canned, wirt: Run) -> None:
    result = {"backup": "web-1", "kind": "full", "reason": "that was asked for", "moved": 2048, "stored": 1024}
    wirtd.routes["POST /v1/domains/web/backup"] = (200, done(result))
    shown = wirt("backup", "create", "web", "--to", "b", "--full", "--rate", "50M").out
    assert shown == "web-1: full (that was asked for), 2 KiB read, 1 KiB stored\n"
    assert wirtd.requests[-1].body == {"to": "b", "cwd": str(Path.cwd()), "full": True, "bytes_per_s": "50M"}


def test_a_boot_tells_how_long_it_took(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["POST /v1/backups/web-1/verify"] = (200, done({"ready_s": 4.5, "seen": "login:"}))
    assert wirt("backup", "verify", "web-1", "--boot").out == "web-1: ready 4.5 s after its start ('login:')\n"


def test_a_restored_domain_is_named_with_its_disks_and_those_that_stay(wirtd: Canned, wirt: Run) -> None:
    result = {"domain": "web", "volumes": {"xvda": "default/web-xvda"}, "left": ["pool:default/web"]}
    wirtd.routes["POST /v1/backups/web-1/restore"] = (200, done(result))
    told = wirt("restore-backup", "web-1", "--replace")
    assert told.out == "xvda: default/web-xvda\ndomain web is there, and off\n"
    assert "pool:default/web stays" in told.err


def test_a_prune_that_is_only_planned_lists_what_would_go(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["POST /v1/backup-prune"] = (200, {"api": "v1", "path": "/srv/b", "backups": [BACKUP]})
    assert "web-1" in wirt("backup", "prune", "web", "--keep-last", "3", "-n").out
    body = wirtd.requests[-1].body
    assert (body["domain"], body["last"], body["daily"], body["dry_run"]) == ("web", 3, 0, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("backup", "create"), "of what?"),
        (("backup", "info"), "of what?"),
        (("backup", "list", "web"), "takes nothing more"),
        (("backup", "prune"), "what is to be kept?"),
        (("backup", "list", "--to", "x"), "--to is for create"),
        (("backup", "info", "x", "--keep-last", "1"), "--keep-last is for prune"),
        (("backup", "create", "x", "--from", "y"), "--from is for list"),
        (("backup", "verify", "x", "--expect", "y"), "go with --boot"),
        (("restore-backup", "x", "--disk", "xvda", "--name", "y"), "makes no domain"),
        (("restore-backup", "x", "--replace", "--name", "y"), "keeps the domain's name"),
    ],
)
def test_a_command_line_that_can_not_be_is_refused_before_anything_is_asked(
    wirtd: Canned, wirt: Run, words: tuple[str, ...], said: str
) -> None:
    refused = wirt(*words)
    assert refused.code == 2
    assert said in refused.err
    assert wirtd.asked() == []
