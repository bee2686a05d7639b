"""Which pages a guest's memory lies in, and what is refused with the figures and the way out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirt.config.xlcfg import load
from wirt.model.domain import GuestType
from wirt.model.errors import ConfigError, Shortage
from wirt.model.memory import TAKEN, GivenMemory, HugeMemory, HugePages, HugePool
from wirt.model.units import GIB, KIB, MIB
from wirt.plan.host import Accelerator, HostFacts, HypervisorFacts
from wirt.plan.launch import LaunchPlan, plan_launch
from wirt.plan.memory_huge import plan_huge
from wirt.plan.ram import Ram

QEMU = HypervisorFacts("qemu", (10, 0, 2), Accelerator.TCG, "", frozenset(GuestType))
POOLS = (HugePool(2048, 512, 300, 44), HugePool(1048576, 2, 2))
HOST = HostFacts("h", 4, 8 * GIB, 6 * GIB, True, "wirtbr0", huge=HugeMemory("madvise", POOLS))
DIRECT = 'name="a"\ntype="pvh"\nkernel="/k"\n'


def plan(
    text: str, host: HostFacts = HOST, hypervisor: HypervisorFacts = QEMU, memory: GivenMemory | None = None
) -> LaunchPlan:
    config = load(DIRECT + text, file="a.cfg", cwd=PurePosixPath("/")).config
    return plan_launch(config, UUID(int=1), 7, host, hypervisor, memory=memory)


def test_who_says_nothing_has_ordinary_pages_which_nobody_merges() -> None:
    assert plan("memory=128").ram == Ram() == plan('memory=128\nhugepages="off"').ram


def test_pages_that_are_set_aside_are_taken_as_far_as_they_are_left() -> None:
    assert plan('memory=512\nhugepages="2M"').ram.page_kib == 2048
    assert plan('memory=2048\nhugepages="1G"').ram.page_kib == 1048576
    with pytest.raises(Shortage, match="needs 257 huge pages of 2M, and 256 of 512 are left") as caught:
        plan('memory=514\nhugepages="2M"')
    assert "echo 513 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages" in str(caught.value.hint)


def test_they_are_no_part_of_what_is_free_otherwise() -> None:
    full = replace(HOST, memory_available_bytes=0)
    assert plan('memory=512\nhugepages="2M"', full).memory_mib == 512
    with pytest.raises(Shortage, match="0 MiB are free"):
        plan("memory=512", full)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('memory=128\nmaxmem=256\nhugepages="2M"', "no balloon gives them back"),
        ('memory=129\nhugepages="2M"', "no whole number"),
        ('memory=1536\nhugepages="1G"', "no whole number"),
    ],
)
def test_what_huge_pages_can_not_do_is_an_error_of_that_key(text: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        plan(text)
    assert caught.value.key == "hugepages" and caught.value.hint


def test_room_for_memory_is_made_where_it_can_be() -> None:
    made = plan("memory=128\nhotplug_memory=1024")
    assert (made.hotplug_mib, made.hotplug_slot, made.plugged_mib, made.memory_mib) == (1024, 29, 0, 128)
    assert made.padding_kib == 8, "it is no longer the first of its QEMU's memory"
    assert (
        plan("memory=128\nhotplug_memory=1024", hypervisor=replace(QEMU, accelerator=Accelerator.KVM)).padding_kib
        == 0
    )
    assert (plan("memory=128").hotplug_slot, plan("memory=128").padding_kib) == (None, 0)
    with pytest.raises(Shortage, match="it would have 8320 MiB, and this host can give at most"):
        plan("memory=128\nhotplug_memory=8192")
    with pytest.raises(ConfigError, match="none can be plugged in") as caught:
        plan('memory=512\nhugepages="2M"\nhotplug_memory=128')
    assert caught.value.key == "hotplug_memory"
    disks = ",".join(f'"/d{index},raw,xvd{chr(97 + index)},rw"' for index in range(24))
    with pytest.raises(ConfigError, match="no PCI slot is left for memory") as caught:
        plan(f"memory=128\nhotplug_memory=128\ndisk=[{disks}]")
    assert caught.value.key == "hotplug_memory"


def test_room_for_memory_is_whole_blocks_of_a_guest() -> None:
    with pytest.raises(ConfigError, match="plugged in by 128 MiB") as caught:
        plan("memory=128\nhotplug_memory=100")
    assert caught.value.hint == "hotplug_memory = 128"


def test_a_guest_that_goes_on_needs_room_for_what_was_plugged_in_and_no_more() -> None:
    given = GivenMemory(128, 0, hotplug_mib=1024)
    made = plan("memory=300\nmaxmem=400", memory=given)
    assert (made.memory_mib, made.hotplug_mib, made.plugged_mib, made.start_mib) == (128, 1024, 172, 128)
    tight = replace(HOST, memory_available_bytes=HOST.reserve_bytes + 299 * MIB)
    with pytest.raises(Shortage, match="asks for 300 MiB"):
        plan("memory=300\nmaxmem=400", tight, memory=given)


def test_a_guest_with_padding_has_none() -> None:
    old = replace(QEMU, version=(7, 2, 22))
    with pytest.raises(ConfigError, match="8 KiB more"):
        plan('memory=128\nhugepages="2M"', hypervisor=old)
    assert plan('memory=128\nhugepages="2M"', hypervisor=replace(old, accelerator=Accelerator.KVM)).ram.page_kib


def test_a_host_without_such_pages_names_those_that_it_has() -> None:
    with pytest.raises(ConfigError, match="no huge pages of 1G") as caught:
        plan('memory=1024\nhugepages="1G"', replace(HOST, huge=HugeMemory("madvise", POOLS[:1])))
    assert caught.value.hint == "what it can have: 2M"
    with pytest.raises(ConfigError) as caught:
        plan('memory=1024\nhugepages="1G"', replace(HOST, huge=HugeMemory()))
    assert caught.value.hint == "what it can have: none"


@pytest.mark.parametrize(("kernel", "can"), [("always", True), ("madvise", True), ("never", False), (None, False)])
def test_transparent_ones_are_refused_where_the_kernel_makes_none(kernel: str | None, can: bool) -> None:
    host = replace(HOST, huge=HugeMemory(kernel))
    if can:
        assert plan('memory=128\nhugepages="transparent"', host).ram == Ram()
        return
    with pytest.raises(ConfigError, match="makes none") as caught:
        plan('memory=128\nhugepages="transparent"', host)
    assert "transparent_hugepage/enabled" in str(caught.value.hint)


def test_memory_is_merged_where_the_host_does_so_and_the_guest_does_not_say_no() -> None:
    merging = replace(HOST, merging=True)
    assert plan("memory=128", merging).ram.merge
    assert not plan("memory=128\nmem_merge=0", merging).ram.merge
    assert not plan("memory=128\nmem_merge=1").ram.merge, "the host decides that it is done at all"
    assert not plan('memory=128\nhugepages="2M"', merging).ram.merge


def test_what_is_the_guests_for_good_is_not_given_back() -> None:
    assert not plan('memory=128\nhugepages="2M"').reporting
    with pytest.raises(ConfigError, match="gives free pages back"):
        plan('memory=128\nhugepages="2M"', memory=GivenMemory(128, 0, reporting=True))
    assert plan('memory=128\nhugepages="2M"', memory=GivenMemory(128, 0)).ram.page_kib == 2048


def test_a_guest_that_has_its_pages_already_is_not_asked_for_more() -> None:
    taken = replace(HOST, huge=HugeMemory("never", (HugePool(2048, 64, 0),)))
    with pytest.raises(Shortage):
        plan('memory=128\nhugepages="2M"', taken)
    again = replace(taken, huge=TAKEN)
    assert plan('memory=128\nhugepages="2M"', again).ram.page_kib == 2048
    assert plan('memory=1024\nhugepages="1G"', again).ram.page_kib == 1048576
    assert plan('memory=128\nhugepages="transparent"', again).ram == Ram()


def test_an_unknown_size_is_an_error_that_names_those_that_can_be() -> None:
    with pytest.raises(ConfigError) as caught:
        plan('memory=128\nhugepages="4M"')
    assert "2M" in str(caught.value)


def test_pages_are_summed_apart_and_what_others_have_is_named() -> None:
    guests = {"web": (HugePages.TWO_MIB, 300), "db": (None, 9999)}
    two, one = plan_huge(HugeMemory(None, POOLS), guests)
    assert two.text == "web 300 + others 212 = 512 <= 1024 MiB" and two.holds
    assert one.text == "nothing = 0 <= 2048 MiB"
    assert list(plan_huge(HugeMemory(None, (HugePool(2048, 0, 0),)), {})) == []


@given(
    total=st.integers(0, 2000),
    free=st.integers(0, 2000),
    promised=st.integers(0, 2000),
    pages=st.integers(40, 2000),
)
def test_no_guest_begins_with_more_pages_than_are_left(total: int, free: int, promised: int, pages: int) -> None:
    pool = HugePool(2048, total, free, promised)
    host = replace(HOST, huge=HugeMemory(None, (pool,)))
    text = f'memory={pages * 2}\nhugepages="2M"'
    if pages <= free - promised:
        assert plan(text, host).memory_mib * MIB == pages * 2048 * KIB
    else:
        with pytest.raises(Shortage):
            plan(text, host)
