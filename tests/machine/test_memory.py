"""The host's memory is read from whatever the kernel shows, and KSM does what it is told, in memory and in
files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirt.machine import FakeHostMemory, LinuxMemory
from wirt.model.errors import Unavailable
from wirt.model.memory import HugeMemory, HugePool
from wirt.ports.host_memory import HostMemory

KSM = {
    "ksm/run": "0\n",
    "ksm/pages_shared": "12\n",
    "ksm/pages_sharing": "345\n",
    "ksm/pages_to_scan": "100\n",
    "ksm/sleep_millisecs": "20\n",
}
HUGE = {
    "transparent_hugepage/enabled": "always [madvise] never\n",
    "hugepages/hugepages-2048kB/nr_hugepages": "64\n",
    "hugepages/hugepages-2048kB/free_hugepages": "40\n",
    "hugepages/hugepages-2048kB/resv_hugepages": "8\n",
    "hugepages/hugepages-1048576kB/nr_hugepages": "0\n",
    "hugepages/hugepages-1048576kB/free_hugepages": "0\n",
    "hugepages/hugepages-1048576kB/resv_hugepages": "0\n",
}
NUMA_MAPS = """\
55d0c2a00000 default file=/usr/bin/qemu-system-x86_64 mapped=900 N0=900 kernelpagesize_kB=4
7f0000000000 prefer:1 anon=1024 dirty=1024 N0=256 N1=768 kernelpagesize_kB=4
7f1000000000 bind:1 file=/memfd:memory-backend-memfd\\040(deleted) huge dirty=64 N1=64 kernelpagesize_kB=2048
7f2000000000 default stack:0 N9
7ffd00000000 default
"""


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_pools_are_told_with_what_is_left_of_them(tmp_path: Path) -> None:
    found = LinuxMemory(tree(tmp_path, HUGE)).huge()
    assert found.transparent == "madvise" and found.pool(4) is None
    pool = found.pool(2048)
    assert pool == HugePool(2048, 64, 40, 8) and pool.left == 32
    assert found.reserved_bytes == 64 * 2 << 20


def test_a_kernel_without_any_of_it_has_none_and_is_no_error(tmp_path: Path) -> None:
    memory = LinuxMemory(tmp_path / "absent", tmp_path)
    assert memory.huge() == HugeMemory() and memory.merging() is None and memory.nodes_of(1) == {}
    with pytest.raises(Unavailable, match="can't be turned on"):
        memory.merge(on=True)


@given(st.dictionaries(st.sampled_from(sorted(HUGE)), st.text(max_size=20)))
def test_nonsense_counts_as_nothing(texts: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as place:
        found = LinuxMemory(tree(Path(place), {**HUGE, **texts})).huge()
        assert all(pool.left >= 0 for pool in found.pools)


def test_each_page_is_counted_on_its_node_with_its_own_size(tmp_path: Path) -> None:
    memory = LinuxMemory(proc=tree(tmp_path, {"7/numa_maps": NUMA_MAPS}))
    assert memory.nodes_of(7) == {0: (900 + 256) * 4096, 1: 768 * 4096 + 64 * 2048 * 1024}


def test_this_machine_is_read_without_an_error() -> None:
    memory = LinuxMemory()
    memory.huge()
    memory.merging()
    assert sum(memory.nodes_of(1).values()) >= 0


def real(root: Path) -> HostMemory:
    return LinuxMemory(tree(root, KSM))


def fake(root: Path) -> HostMemory:
    return FakeHostMemory()


@pytest.mark.parametrize("make", [real, fake])
def test_ksm_goes_on_and_off_and_keeps_what_it_is_told(make: Callable[[Path], HostMemory], tmp_path: Path) -> None:
    memory = make(tmp_path)
    before = memory.merging()
    assert before is not None and not before.on
    memory.merge(on=True, scan=500)
    now = memory.merging()
    assert now is not None and (now.on, now.scan, now.sleep_ms) == (True, 500, 20)
    memory.merge(on=True, sleep_ms=5)
    now = memory.merging()
    assert now is not None and (now.on, now.scan, now.sleep_ms) == (True, 500, 5)
    memory.merge(on=False)
    now = memory.merging()
    assert now is not None and not now.on


def test_off_parts_what_was_merged(tmp_path: Path) -> None:
    memory = real(tmp_path)
    memory.merge(on=True)
    memory.merge(on=False)
    assert (tmp_path / "ksm/run").read_text() == "2"
