"""``wirt import`` and ``export``: what is asked of the server, and how it is shown."""

from __future__ import annotations

import pytest

from .canned import Canned
from .conftest import Run

PLAN = {
    "name": "web",
    "kind": "ova",
    "disks": [
        {"label": "a.vmdk", "volume": "default/web", "size": 1 << 30, "format": "qcow2", "source_format": "vmdk"}
    ],
    "lost": ["a sound card", "evil \x1b[2J name"],
    "config": 'name = "web"\n',
    "checked": True,
    "api": "v1",
}
SHOWN = """\
web: from an ova, checksums are compared
default/web: qcow2, 1 GiB, from a.vmdk (vmdk)
not carried over: a sound card
not carried over: evil \\x1b[2J name

  name = "web"
"""


def test_an_import_is_planned_and_shown_without_moving_the_terminals_cursor(wirt: Run, wirtd: Canned) -> None:
    wirtd.routes["POST /v1/import-plan"] = (200, PLAN)
    shown = wirt("import", "/srv/web.ova", "-n")
    assert (shown.code, shown.out, shown.err) == (0, SHOWN, "")


def test_words_become_a_request_with_an_absolute_path(wirt: Run, wirtd: Canned) -> None:
    wirtd.routes["POST /v1/import-plan"] = (200, PLAN)
    words = (
        "--name",
        "x",
        "--pool",
        "fast",
        "--format",
        "raw",
        "--bridge",
        "br0",
        "--bridge",
        "br1",
        "--vcpus",
        "3",
    )
    assert wirt("import", "web.ova", "-n", *words).code == 0
    request = wirtd.requests[-1].body
    assert request["file"].startswith("/") and request["file"].endswith("/web.ova")
    assert (request["name"], request["pool"], request["format"]) == ("x", "fast", "raw")
    assert (request["bridges"], request["vcpus"], request["memory"]) == (["br0", "br1"], 3, None)


def test_an_export_is_planned_and_shown(wirt: Run, wirtd: Canned) -> None:
    plan = {
        "name": "web",
        "file": "/srv/web.ova",
        "disks": ["web-disk1.vmdk"],
        "lost": ["its kernel"],
        "api": "v1",
    }
    wirtd.routes["POST /v1/export-plan"] = (200, plan)
    shown = wirt("export", "web", "/srv/web.ova", "-n")
    assert shown.out == "/srv/web.ova: web, with web-disk1.vmdk\nnot carried over: its kernel\n"
    assert wirtd.requests[-1].body == {"domain": "web", "file": "/srv/web.ova", "format": "vmdk"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("import",), "FILE"),
        (("import", "a.ova", "--format", "vmdk"), "vmdk"),
        (("import", "a.ova", "--memory", "much"), "much"),
        (("export", "web"), "FILE"),
        (("export", "web", "a.ova", "--format", "raw"), "raw"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_asks_nobody(
    wirt_process: Run, wirtd: Canned, words: tuple[str, ...], told: str
) -> None:
    done = wirt_process(*words)
    assert done.code == 2
    assert told in done.err
    assert wirtd.requests == []
