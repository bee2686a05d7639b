"""A guest that lives on a partition: what files promise holds there too, the host's own use comes first, and
nothing that was there before wirt is taken away."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.storage.kinds import SCRATCH, run

from wirt.images.tiny import TinyImage
from wirt.model.units import MIB

from .conftest import give_facts
from .guests import silent, watch
from .host import Host, a_host
from .one_disk import holds, references, start, up, write
from .test_backup import BLOCK, expected
from .test_backup import write as blocks

pytestmark = [pytest.mark.testhost, pytest.mark.root, pytest.mark.real]

ONE, TWO, SMALL = (f"{SCRATCH}-part{number}" for number in (1, 2, 3))


@pytest.fixture(scope="module")
def parts() -> Iterator[None]:
    """Partitions of 16, 16 and 8 MiB."""
    run("sh", "-c", f"printf 'label: gpt\\nsize=16M\\nsize=16M\\nsize=8M\\n' | sfdisk -q --wipe always {SCRATCH}")
    run("udevadm", "settle")
    yield
    run("wipefs", "-q", "-a", SCRATCH)
    run("blockdev", "--rereadpt", SCRATCH)
    run("udevadm", "settle")


@pytest.fixture(scope="module")
def shared_host(tmp_path_factory: pytest.TempPathFactory, qemu_facts: Path, parts: None) -> Iterator[Host]:
    scratch = tmp_path_factory.mktemp("devices")
    with a_host(give_facts(scratch / "home", qemu_facts), scratch) as host:
        host.ok("pool", "create", "disks", "--type", "block", "--target", f"one={ONE},two={TWO},small={SMALL}")
        yield host
        host.tidy()
        host.ok("pool", "destroy", "disks", "-y")


@pytest.fixture
def host(shared_host: Host) -> Iterator[Host]:
    for device in (ONE, TWO, SMALL):
        run("blkdiscard", "--zeroout", device)
    yield shared_host
    for name in shared_host.names():
        shared_host.run("destroy", name)
        shared_host.ok("undefine", name)
    for reference in references(shared_host):
        if not reference.startswith("disks/"):
            shared_host.ok("volume", "destroy", reference)


def content(path: str) -> bytes:
    run("blockdev", "--flushbufs", path)
    return Path(path).read_bytes()


@contextlib.contextmanager
def mounted(device: str, place: Path) -> Iterator[None]:
    run("mkfs.ext4", "-q", "-F", device)
    place.mkdir()
    run("mount", device, str(place))
    try:
        yield
    finally:
        run("umount", str(place))


def test_a_guest_lives_on_a_partition_which_nobody_else_gets(host: Host, tiny: TinyImage, tmp_path: Path) -> None:
    up(host, tiny, "disks/one")
    write(host, 1, 0, 16)
    holds(host, 1, 0, 16)
    more = 'disk = ["{},,xvda,rw"]'
    for target in ("disks/one,", f"{ONE},raw", f"{SCRATCH},raw"):
        config = host.write("other.cfg", silent(tiny, "other", f'disk = ["{target},xvda,rw"]'))
        said = host.fails("create", config)
        assert "web" in said, said
    assert "keep their size" in host.fails("volume", "resize", "disks/one", "--size", "32M")
    assert "is a disk of domain web" in host.fails("volume", "destroy", "disks/one")
    assert "stays" in host.fails("volume", "destroy", "disks/two")
    host.fails("snapshot", "create", "web", "never")
    host.ok("destroy", "web")
    before = content(ONE)
    start(host)
    holds(host, 1, 0, 16)
    host.ok("destroy", "web")
    assert content(ONE) == before
    with mounted(TWO, tmp_path / "mounted"):
        said = host.fails("create", host.write("other.cfg", silent(tiny, "other", more.format("disks/two"))))
        assert "is mounted at" in said, said
        said = host.fails("volume", "copy", "disks/one", "disks/two", "--overwrite")
        assert "is mounted at" in said, said
    assert references(host) == ["disks/one", "disks/small", "disks/two"]


def test_a_disk_goes_from_a_partition_to_a_file_and_to_another_while_its_guest_writes(
    host: Host, tiny: TinyImage
) -> None:
    """The partition stays, with what was in it at the change."""
    up(host, tiny, "disks/one")
    write(host, 1, 0, 16)
    host.ok("disk-move", "web", "xvda", "default/web", "--format", "qcow2")
    assert references(host) == ["default/web", "disks/one", "disks/small", "disks/two"]
    old = content(ONE)
    write(host, 2, 4)
    holds(host, 2, 4)
    assert content(ONE) == old
    assert "--overwrite" in host.fails("disk-move", "web", "xvda", "disks/two")
    assert "has 8 MiB" in host.fails("disk-move", "web", "xvda", "disks/small", "--overwrite")
    host.ok("disk-move", "web", "xvda", "disks/two", "--overwrite", "--format", "raw")
    assert references(host) == ["disks/one", "disks/small", "disks/two"]
    write(host, 3, 5)
    host.ok("destroy", "web")
    host.ok("disk-move", "web", "xvda", "disks/one", "--overwrite")
    assert content(ONE) == content(TWO)
    start(host)
    for seed, offset, size in ((1, 0, 4), (2, 4, 1), (3, 5, 1), (1, 6, 10)):
        holds(host, seed, offset, size)


def test_what_a_partition_held_comes_back_from_its_backups(host: Host, tiny: TinyImage, tmp_path: Path) -> None:
    up(host, tiny, "disks/one")
    with watch(host, "web") as console:
        blocks(console, "vda", 3, "a")
        first = host.json("backup", "create", "web", "--to", str(tmp_path))["result"]
        blocks(console, "vda", 9, "b")
        second = host.json("backup", "create", "web", "--to", str(tmp_path))["result"]
        blocks(console, "vda", 3, "c")
    assert (first["kind"], second["kind"], second["moved"]) == ("full", "incremental", BLOCK)
    host.ok("destroy", "web")
    for made, wanted in ((first, {3: "a"}), (second, {3: "a", 9: "b"})):
        assert "makes no new volumes" in host.fails(
            "restore-backup", made["backup"], "--name", "b", "--pool", "disks"
        )
        host.ok("restore-backup", made["backup"], "--name", "back")
        host.ok("disk-move", "back", "xvda", "disks/two", "--overwrite", "--format", "raw")
        assert content(TWO) == expected(16 * MIB, wanted)
        host.ok("undefine", "back")
    assert references(host) == ["disks/one", "disks/small", "disks/two"]
