"""A snapshot that is merged into a pool that has no room for what was written since: the guest keeps its disk, the
snapshot stays, the message says that it is full, and with room again it goes."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage
from wirt.model.units import MIB

from .host import Host
from .one_disk import holds, references, start, up, write

pytestmark = [pytest.mark.real, pytest.mark.root]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 24 MiB."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24M", "small", str(small)], check=True)
    yield small
    subprocess.run(["umount", str(small)], check=True)


@pytest.fixture
def host(real_host: Host, place: Path) -> Iterator[Host]:
    real_host.ok("pool", "create", "small", "--type", "dir", "--target", str(place))
    yield real_host
    real_host.run("destroy", "web")
    for each in real_host.json("snapshot", "list", "web")["snapshots"]:
        real_host.ok("snapshot", "delete", "web", each["name"])
    real_host.run("undefine", "web")
    for reference in references(real_host):
        real_host.ok("volume", "destroy", reference)
    real_host.ok("pool", "destroy", "small", "-y")


@contextlib.contextmanager
def no_room(place: Path, left: int) -> Iterator[None]:
    filler = place / ".filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\xff" * 4096)
    with filler.open("r+b") as file:
        file.truncate(filler.stat().st_size - left * MIB)
    yield
    filler.unlink()


@pytest.mark.parametrize(
    ("form", "left", "runs"),
    [
        ("raw", 0, True),
        pytest.param("raw", 1, False, marks=pytest.mark.long),
        pytest.param("qcow2", 0, False, marks=pytest.mark.long),
        pytest.param("qcow2", 1, True, marks=pytest.mark.long),
    ],
)
def test_a_merge_for_which_there_is_no_room_says_so_and_loses_nothing(
    host: Host, tiny: TinyImage, place: Path, form: str, left: int, runs: bool
) -> None:
    host.ok("volume", "create", "small/web", "--size", "10M", "--format", form)
    up(host, tiny, "small/web")
    write(host, 1, 0, 2)
    host.ok("snapshot", "create", "web", "kept")
    write(host, 2, 2, 4)
    if not runs:
        host.ok("destroy", "web")
    with no_room(place, left):
        failed = host.run("snapshot", "delete", "web", "kept")
        assert failed.code == 1
        assert "pool small has no room to merge small/" in failed.err
        assert "make room there (wirt pool list) and delete the snapshot again" in failed.err
        assert [each["name"] for each in host.json("snapshot", "list", "web")["snapshots"]] == ["kept"]
        if runs:
            assert host.domain("web")["state"] == "running"
            holds(host, 2, 2, 4)
    if not runs:
        start(host)
    holds(host, 1, 0, 2)
    holds(host, 2, 2, 4)
    host.ok("snapshot", "delete", "web", "kept")
    holds(host, 1, 0, 2)
    holds(host, 2, 2, 4)
    assert references(host) == ["small/web"]
