"""``wirt pool`` and ``wirt volume``: what is asked of the daemon, what is shown, and what is refused before."""

from __future__ import annotations

import pytest

from .canned import Canned
from .conftest import Run

POOL = {
    "name": "fast",
    "type": "dir",
    "target": "/srv/fast",
    "state": "ready",
    "capacity": 10 << 30,
    "available": 3 << 30,
    "allocated": 7 << 30,
    "promised": 20 << 30,
    "formats": ["qcow2", "raw"],
    "capabilities": ["clone", "grow"],
    "file_system": "xfs",
    "abilities": ["reflink", "discard"],
}
GONE = {"name": "far", "type": "nfs", "target": "", "source": "nas:/x", "state": "unavailable", "problem": "gone"}
VOLUME = {
    "pool": "fast",
    "name": "web",
    "reference": "fast/web",
    "format": "qcow2",
    "size": 10 << 30,
    "allocated": 1536 << 20,
    "path": "/srv/fast/web.qcow2",
    "backing": "base",
    "holders": [{"host": "a", "domain": "web", "job": None, "writes": True}],
    "domains": ["web"],
    "engine": [{"what": "detect_zeroes", "choice": "unmap", "reason": "zeroes take no room"}],
}
POOLS = """\
Name  Type  Target     Capacity  Available  Promised  State
fast  dir   /srv/fast  10 GiB    3 GiB      20 GiB    ready
far   nfs   nas:/x     -         -          -         unavailable
"""
VOLUMES = """\
Volume    Format  Size    Allocated  Stands on  Used by
fast/web  qcow2   10 GiB  1.5 GiB    base       web
"""


def test_pools_are_listed_with_those_that_are_gone(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/pools"] = (200, {"api": "v1", "pools": [POOL, GONE], "types": []})
    assert wirt("pool", "list").out == POOLS


def test_volumes_are_listed_with_those_who_have_them(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/volumes?pool=fast"] = (200, {"api": "v1", "volumes": [VOLUME]})
    assert wirt("volume", "list", "fast").out == VOLUMES


def test_a_volume_is_shown_with_who_has_it_open(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/volumes/fast/web"] = (200, VOLUME)
    shown = wirt("volume", "info", "fast/web").out
    assert "open by                : web on a, for writing\n" in shown
    assert "detect-zeroes          : unmap: zeroes take no room\n" in shown


def test_a_pool_is_shown_with_what_its_file_system_can_do_and_what_not(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/pools/fast"] = (200, {"api": "v1", "pool": POOL, "volumes": []})
    said = "file system            : xfs (reflink: yes, direct access: no, discard: yes)\n"
    assert said in wirt("pool", "info", "fast").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pool", "create"), "which pool?"),
        (("pool", "create", "x"), "where is it?"),
        (("pool", "list", "x"), "list takes no name"),
        (("pool", "info", "x", "--type", "dir"), "--type is for create"),
        (("pool", "info", "x", "--delete-volumes"), "is for destroy"),
        (("volume", "info"), "which volume?"),
        (("volume", "info", "web"), "names no volume"),
        (("volume", "create", "a/b"), "how large?"),
        (("volume", "copy", "a/b"), "POOL/VOLUME"),
        (("volume", "destroy", "a/b", "c/d"), "takes nothing more"),
        (("volume", "clone", "a/b", "c", "--size", "1G"), "--size is for create and resize"),
        (("volume", "create", "a/b", "--size", "1G", "--force"), "--force is for resize"),
    ],
)
def test_a_command_line_that_can_not_be_is_refused_before_anything_is_asked(
    wirtd: Canned, wirt: Run, words: tuple[str, ...], said: str
) -> None:
    result = wirt(*words)
    assert result.code == 2
    assert said in result.err


def test_volumes_are_not_deleted_with_their_pool_unless_somebody_agrees(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/pools/fast"] = (200, {"api": "v1", "pool": POOL, "volumes": [VOLUME]})
    result = wirt("pool", "destroy", "fast", "--delete-volumes")
    assert result.code == 2
    assert "add --yes if that is meant" in result.err
