"""What a configuration becomes on a host, and what is refused before anything is done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from uuid import UUID

import pytest

from wirt.config.xlcfg import load
from wirt.model.devices import VifKind
from wirt.model.domain import GuestType
from wirt.model.errors import BadInput, ConfigError, Shortage
from wirt.model.memory import GivenMemory
from wirt.model.units import GIB
from wirt.plan.host import Accelerator, HostFacts, HypervisorFacts
from wirt.plan.launch import PADDING_KIB, Bus, ConsoleDevice, LaunchPlan, plan_card, plan_launch

UUID_ = UUID("12345678-1234-5678-1234-567812345678")
HOST = HostFacts("h", 4, 8 * GIB, 6 * GIB, can_bridge=True, default_bridge="wirtbr0")
QEMU = HypervisorFacts("qemu", (10, 0, 2), Accelerator.TCG, "", frozenset(GuestType))
DIRECT = 'name="a"\ntype="pvh"\nkernel="/k"\nmemory=128\n'
EIGHT_CARDS = ", ".join(['""'] * 8)
ROOT = PurePosixPath("/")
FIRMWARE = 'name="a"\ntype="hvm"\nmemory=128\n'


def plan(text: str, host: HostFacts = HOST, hypervisor: HypervisorFacts = QEMU) -> LaunchPlan:
    config = load(text, file="a.cfg", cwd=PurePosixPath("/")).config
    return plan_launch(config, UUID_, 7, host, hypervisor)


def test_the_same_configuration_always_becomes_the_same_plan() -> None:
    text = FIRMWARE + 'disk=["/a.img,raw,hda,w", "/b.img,raw,xvdb,w"]\nvif=["", ""]'
    assert plan(text) == plan(text)


def test_memory_is_padded_where_the_hypervisor_would_forget_pages_and_goes_on_as_it_began() -> None:
    old = replace(QEMU, version=(7, 2, 22))
    assert plan(DIRECT).padding_kib == 0
    assert plan(DIRECT, hypervisor=old).padding_kib == PADDING_KIB
    assert plan(DIRECT, hypervisor=replace(old, accelerator=Accelerator.KVM)).padding_kib == 0
    config = load(DIRECT, file="a.cfg", cwd=PurePosixPath("/")).config
    for kept in (0, PADDING_KIB):
        for hypervisor in (QEMU, old):
            given = GivenMemory(padding_kib=kept)
            assert plan_launch(config, UUID_, 7, HOST, hypervisor, memory=given).padding_kib == kept


def test_a_balloon_takes_reports_unless_somebody_says_no_or_the_guest_began_without() -> None:
    silent = replace(HOST, reporting=False)
    assert plan(DIRECT).reporting and not plan(DIRECT, silent).reporting
    assert not plan(DIRECT + "free_page_reporting=0").reporting
    assert plan(DIRECT + "free_page_reporting=1", silent).reporting
    config = load(DIRECT, file="a.cfg", cwd=ROOT).config
    for kept in (True, False):
        given = GivenMemory(128, 0, kept)
        assert plan_launch(config, UUID_, 7, silent, QEMU, memory=given).reporting is kept
    assert not plan_launch(config, UUID_, 7, HOST, QEMU, memory=GivenMemory()).reporting, "an older wirt began it"


def test_a_guest_that_goes_on_has_the_memory_that_it_began_with_whatever_its_configuration_says() -> None:
    config = load(DIRECT + "maxmem=512", file="a.cfg", cwd=ROOT).config
    begun = plan_launch(config, UUID_, 7, HOST, QEMU)
    assert (begun.memory_mib, begun.start_mib) == (512, 128)
    older = plan_launch(config, UUID_, 7, HOST, QEMU, memory=GivenMemory(128, 0))
    assert (older.memory_mib, older.start_mib) == (128, 128)
    larger = plan_launch(config, UUID_, 7, HOST, QEMU, memory=GivenMemory(1024, 0))
    assert (larger.memory_mib, larger.start_mib) == (1024, 128)
    with pytest.raises(Shortage, match="9000000 MiB"):
        plan_launch(config, UUID_, 7, HOST, QEMU, memory=GivenMemory(9_000_000, 0))


def test_no_two_devices_share_a_slot() -> None:
    disks = ", ".join(f'"/{n}.img,raw,xvd{chr(97 + n)},w"' for n in range(10))
    made = plan(DIRECT + f'disk=[{disks}]\nvif=[{EIGHT_CARDS}, "", "devid=300"]')
    slots = [slot for _, slot in made.slots] + [d.slot for d in made.disks]
    slots += [nic.slot for nic in made.nics if nic.port is None]
    assert len(slots) == len(set(slots)) == 4 + 1 + 10 + 2
    assert [nic.port for nic in made.nics] == [*range(8), None, None]


def test_more_devices_than_slots_is_told_and_not_tried() -> None:
    disks = ", ".join(f'"/{n}.img,raw,xvd{chr(97 + n)},w"' for n in range(26))
    with pytest.raises(BadInput, match="no PCI slot"):
        plan(DIRECT + f"disk=[{disks}]\nvif=[{EIGHT_CARDS}]")


def test_the_agents_port_takes_no_slot_that_something_else_had() -> None:
    text = DIRECT + 'disk=["/a.img,raw,xvda,w"]\nvif=[""]'
    with_agent, without = plan(text), plan(text + "\nguest_agent=0")
    assert (with_agent.agent_slot, without.agent_slot) == (30, None)
    assert replace(with_agent, agent_slot=None) == without
    assert plan(text + "\nguest_agent=1") == with_agent


def test_a_guest_with_no_slot_left_has_no_agent_unless_it_asks_for_one() -> None:
    # Four devices, the ports and 25 disks: all thirty.
    disks = ", ".join(f'"/{n}.img,raw,xvd{chr(97 + n)},w"' for n in range(25))
    full = DIRECT + f"disk=[{disks}]"
    assert plan(full).agent_slot is None
    with pytest.raises(ConfigError, match="no PCI slot is left for the guest agent") as caught:
        plan(full + "\nguest_agent=1")
    assert caught.value.key == "guest_agent"


def test_a_card_keeps_its_place_address_and_tap_whatever_cards_come_and_go() -> None:
    before = plan(DIRECT + 'vif=["", "", ""]')
    after = plan(DIRECT + 'vif=["devid=2", "devid=5", "devid=1"]')
    assert (before.nics[2], before.nics[1]) == (after.nics[0], after.nics[2])
    assert (after.nics[1].port, after.nics[1].tap) == (5, "vif7.5")
    assert before.slots == after.slots


def test_cards_without_a_number_take_the_lowest_that_is_left() -> None:
    made = plan(DIRECT + 'vif=["", "devid=1", "devid=0", ""]')
    assert [nic.index for nic in made.nics] == [2, 1, 0, 3]


def test_one_card_is_planned_as_the_whole_has_it() -> None:
    for text in (DIRECT, FIRMWARE + 'boot="n"\n'):
        config = load(text + 'vif=["", "devid=4,bridge=br9,mac=00:16:3e:00:00:09"]', file="a", cwd=ROOT).config
        whole = plan_launch(config, UUID_, 7, HOST, QEMU)
        assert [plan_card(config, UUID_, 7, HOST, devid) for devid in (0, 4)] == list(whole.nics)


def test_disks_of_an_hvm_guest_are_emulated_by_name_and_paravirtual_by_name() -> None:
    made = plan(FIRMWARE + 'disk=["/a,raw,hda,w", "/b,raw,sdb,w", "/c,raw,xvdc,w", "/d,raw,hdd,r,cdrom"]')
    assert [disk.bus for disk in made.disks] == [Bus.AHCI, Bus.AHCI, Bus.VIRTIO, Bus.AHCI]
    assert [disk.slot for disk in made.disks if disk.bus is Bus.AHCI] == [0, 1, 2]


def test_a_paravirtual_guest_has_no_emulated_disk() -> None:
    assert plan(DIRECT + 'disk=["/a,raw,hda,w"]').disks[0].bus is Bus.VIRTIO


def test_an_emulated_disk_too_many_says_how_to_go_on() -> None:
    disks = ", ".join(f'"/{n},raw,hd{chr(97 + n)},w"' for n in range(7))
    with pytest.raises(ConfigError, match="xvd"):
        plan(FIRMWARE + f"disk=[{disks}]")


def test_boot_letters_order_the_devices() -> None:
    made = plan(FIRMWARE + 'boot="nd"\ndisk=["/a,raw,hda,w", "/b,raw,hdb,r,cdrom"]\nvif=[""]')
    disk, cdrom = made.disks
    (nic,) = made.nics
    assert disk.boot_index is None
    assert nic.boot_index is not None
    assert cdrom.boot_index is not None
    assert nic.boot_index < cdrom.boot_index


@pytest.mark.parametrize(
    ("cmdline", "console"),
    [
        ("console=hvc0", ConsoleDevice.VIRTIO),
        ("console=ttyS0", ConsoleDevice.SERIAL),
        ("", ConsoleDevice.SERIAL),
        ("console=ttyS0 console=hvc0", ConsoleDevice.VIRTIO),
    ],
)
def test_the_console_is_the_one_that_the_kernel_is_told(cmdline: str, console: ConsoleDevice) -> None:
    assert plan(DIRECT + f'extra="{cmdline}"').console is console


@pytest.mark.parametrize(("text", "least"), [(DIRECT, 80), (FIRMWARE, 16)])
def test_memory_too_small_to_boot_is_refused_with_what_is_enough(text: str, least: int) -> None:
    with pytest.raises(ConfigError, match=f"at least {least}") as caught:
        plan(text.replace("memory=128", f"memory={least - 1}"))
    assert caught.value.key == "memory"
    assert plan(text.replace("memory=128", f"memory={least}")).memory_mib == least


def test_memory_beyond_the_host_is_refused_with_what_it_can_give() -> None:
    with pytest.raises(Shortage, match="at most 7936 MiB"):
        plan(DIRECT.replace("128", "9000"))


def test_memory_that_is_not_free_is_refused_with_what_is() -> None:
    with pytest.raises(Shortage, match="744 MiB are free"):
        plan(DIRECT.replace("128", "2000"), replace(HOST, memory_available_bytes=1000 * 2**20))


def test_a_guest_type_that_the_hypervisor_lacks_is_named() -> None:
    with pytest.raises(ConfigError, match="pvh"):
        plan(DIRECT, hypervisor=replace(QEMU, guest_types=frozenset({GuestType.HVM})))


def test_a_pvh_guest_without_a_kernel_is_refused_with_both_remedies() -> None:
    config = load(DIRECT, file="a", cwd=PurePosixPath("/")).config
    with pytest.raises(ConfigError, match="hvm"):
        plan_launch(replace(config, kernel=None), UUID_, 7, HOST, QEMU)


def test_too_many_cpus_are_refused() -> None:
    with pytest.raises(ConfigError, match="255"):
        plan(DIRECT + "vcpus=256\nmaxvcpus=256")


def test_a_card_without_a_bridge_takes_the_best_network_that_there_is() -> None:
    text = DIRECT + 'vif=[""]'
    assert plan(text).nics[0].kind is VifKind.BRIDGE
    assert plan(text).nics[0].bridge == "wirtbr0"
    assert plan(text, replace(HOST, can_bridge=False)).nics[0].kind is VifKind.USER


def test_a_card_that_names_a_bridge_gets_it_or_an_error() -> None:
    text = DIRECT + 'vif=["bridge=br7"]'
    assert plan(text).nics[0].bridge == "br7"
    with pytest.raises(ConfigError, match="net=user"):
        plan(text, replace(HOST, can_bridge=False))


def test_generated_addresses_stay_with_the_domain_and_differ_between_cards() -> None:
    first, second = plan(DIRECT + 'vif=["", ""]').nics
    assert first.mac.startswith("00:16:3e:")
    assert first.mac != second.mac
    assert plan(DIRECT + 'vif=["", ""]').nics[0].mac == first.mac
    assert first.tap == "vif7.0"


def test_the_card_of_an_hvm_guest_is_one_that_any_system_knows() -> None:
    assert plan(FIRMWARE + 'vif=[""]').nics[0].device == "e1000"
    assert plan(FIRMWARE + 'vif=["type=vif"]').nics[0].device == "virtio-net-pci"
    assert plan(DIRECT + 'vif=[""]').nics[0].device == "virtio-net-pci"
