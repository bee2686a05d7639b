"""What a jail plan promises about any guest."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.hypervisors import qemu_plans
from tests.hypervisors.qemu_plans import CONFIGS, FIRMWARE, KVM, UUID_1, plan

from wirt.model.devices import DiskFormat
from wirt.model.domain import Firmware
from wirt.model.units import GIB, MIB
from wirt.plan.jail import CREDENTIALS, Access, JailHost, JailPlan, Layer, Uids, most_bytes, plan_jail, run_name
from wirt.plan.launch import LaunchPlan, plan_launch

HOST = JailHost(root=True, program="/usr/bin/qemu-system-x86_64", program_files=("/usr/share/qemu",))
DIRECTORY = "/run/wirt/runs/7"


def chains_of(launch: LaunchPlan) -> dict[str, tuple[Layer, ...]]:
    """Each disk on a base of its own, of 1 and 2 GiB."""
    chains: dict[str, tuple[Layer, ...]] = {}
    for disk in launch.disks:
        if disk.path is not None:
            top = Layer(disk.path, disk.format, disk.device, GIB, MIB)
            base = Layer(f"{disk.path}.base", DiskFormat.RAW, False, 2 * GIB, 2 * GIB)
            chains[disk.id] = (top, base) if disk.format is DiskFormat.QCOW2 else (top,)
    return chains


def jail(name: str, host: JailHost = HOST) -> JailPlan:
    launch = plan(name)
    return plan_jail(launch, DIRECTORY, host, chains_of(launch))


@pytest.mark.parametrize("name", CONFIGS)
def test_no_disk_and_no_log_is_there_by_name(name: str) -> None:
    launch, made = plan(name), jail(name)
    disks = {disk.path for disk in launch.disks if disk.path is not None}
    assert not disks & {*made.shown, *made.copied, *made.devices}
    inside = [path for path in (*made.shown, *made.copied) if path.startswith(DIRECTORY)]
    assert inside == [f"{DIRECTORY}/{CREDENTIALS}"]  # empty, but while the guest moves
    assert disks <= {handed.path for handed in made.handed}
    assert len({handed.set for handed in made.handed}) == len(made.handed)


@pytest.mark.parametrize("name", CONFIGS)
def test_only_the_top_of_a_writable_disk_may_be_written(name: str) -> None:
    launch, made = plan(name), jail(name)
    writable = {f"{disk.id}/0" for disk in launch.disks if disk.writable and disk.path is not None}
    written = {handed.what for handed in made.handed if handed.access is Access.WRITE}
    assert written - {"firmware-variables", "kvm"} == writable


def test_a_guests_weight_goes_to_its_group_and_is_256_unless_it_is_said() -> None:
    heavy = replace(FIRMWARE, cpu_weight=512)
    launch = plan_launch(heavy, UUID_1, 7, qemu_plans.HOST, qemu_plans.TCG)
    assert plan_jail(launch, DIRECTORY, HOST, chains_of(launch)).limits.cpu_weight == 512
    assert jail("pvh").limits.cpu_weight == 256


def test_logs_can_only_be_appended_to() -> None:
    made = jail("pvh")
    assert [(handed.what, handed.access) for handed in made.handed] == [
        ("events-log", Access.APPEND),
        ("console-log", Access.APPEND),
    ]


def test_the_firmwares_variables_are_handed_over() -> None:
    handed = jail("hvm-ovmf").handed_for("firmware-variables")
    assert handed is not None and handed.path == f"{DIRECTORY}/OVMF_VARS.fd"


def test_two_uses_of_one_file_are_opened_for_themselves() -> None:
    """Or the second would share the first one's lock."""
    disk = FIRMWARE.disks[0]
    config = replace(FIRMWARE, disks=(disk, replace(disk, vdev="xvdb")))
    launch = plan_launch(config, UUID_1, 7, qemu_plans.HOST, qemu_plans.TCG)
    made = plan_jail(launch, DIRECTORY, HOST, chains_of(launch))
    tops = [handed.set for handed in made.handed if handed.path == disk.target]
    assert len(tops) == len(set(tops)) == 2


def test_the_network_is_private_unless_a_user_mode_card_needs_the_hosts_and_that_is_said() -> None:
    assert jail("pvh").private_network and not jail("pvh").weaker
    open_ = jail("user-forwards-static-address")
    assert not open_.private_network
    assert any("user-mode" in sentence for sentence in open_.weaker)


def test_with_passt_the_network_is_private_for_a_user_mode_card_too() -> None:
    made = jail("user-forwards-static-address", replace(HOST, no_passt=None))
    assert made.private_network and made.passt
    assert not jail("pvh", replace(HOST, no_passt=None)).passt


def test_qemus_own_user_mode_network_finds_the_hosts_name_servers() -> None:
    host = replace(HOST, resolver="/etc/resolv.conf")
    assert "/etc/resolv.conf" in jail("user-forwards-static-address", host).shown
    assert "/etc/resolv.conf" not in jail("user-forwards-static-address", replace(host, no_passt=None)).shown
    assert "/etc/resolv.conf" not in jail("pvh", host).shown


def test_a_forwarded_udp_port_opens_the_hosts_loopback_and_that_is_said() -> None:
    made = jail("user-forwards-static-address", replace(HOST, no_passt=None))
    udp = any(forward.protocol == "udp" for forward in plan("user-forwards-static-address").forwards())
    assert udp and [sentence for sentence in made.weaker if "loopback" in sentence]


def test_arguments_that_nobody_looked_at_are_told_of() -> None:
    assert any("device_model_args" in sentence for sentence in jail("device-model-args").weaker)


def test_kvm_comes_as_a_descriptor_and_as_a_node_only_for_a_qemu_that_takes_none() -> None:
    launch = replace(plan("kvm"), accelerator=KVM.accelerator)
    new = plan_jail(launch, DIRECTORY, HOST, {})
    old = plan_jail(launch, DIRECTORY, replace(HOST, kvm_by_descriptor=False, kvm_group=104), {})
    assert new.handed_for("kvm") is not None and "/dev/kvm" not in new.devices and new.groups == ()
    assert old.handed_for("kvm") is None and "/dev/kvm" in old.devices and old.groups == (104,)


def test_a_guest_without_kvm_has_no_kvm() -> None:
    made = jail("pvh")
    assert "/dev/kvm" not in made.devices and made.handed_for("kvm") is None


def test_files_that_only_root_may_read_are_copied_in() -> None:
    made = jail("pvh", replace(HOST, unreadable=frozenset({"/boot/vmlinuz"})))
    assert made.copied == ("/boot/vmlinuz",) and "/boot/vmlinuz" not in made.shown
    assert "/boot/initrd.img" in made.shown


def test_the_uid_follows_from_the_domid_and_stays_in_its_range() -> None:
    assert list(Uids(100, 4, 2).in_order()) == [102, 103, 100, 101]
    assert jail("pvh").uids == Uids(HOST.uid_base, HOST.uid_count, 7)
    assert jail("pvh", replace(HOST, root=False)).uids is None


def test_a_file_may_grow_to_all_that_the_guest_can_fill_it_with_and_no_further() -> None:
    assert most_bytes(Layer("/a.raw", DiskFormat.RAW, False, GIB, GIB)) == GIB
    thin = most_bytes(Layer("/a.qcow2", DiskFormat.QCOW2, False, 100 * GIB, MIB))
    assert 100 * GIB < thin < 101 * GIB
    grown = most_bytes(Layer("/a.qcow2", DiskFormat.QCOW2, False, GIB, 3 * GIB))
    assert grown >= 3 * GIB, "snapshots inside of an image make it longer than its disk"


def test_the_limits_leave_room_for_the_guest_and_for_qemu() -> None:
    limits = jail("maxvcpus").limits
    assert limits.memory_bytes > 128 * MIB + 256 * MIB
    assert limits.processes > 8 + 64
    assert limits.core_bytes == 1


def test_firmware_is_shown_by_name() -> None:
    assert "/opt/bios.bin" in jail("hvm-own-bios").shown
    assert plan("hvm-ovmf").firmware is Firmware.OVMF
    assert "/usr/share/OVMF/OVMF_CODE_4M.fd" in jail("hvm-ovmf").shown


def test_one_domain_twice_on_one_machine_has_two_names_and_neither_is_a_path() -> None:
    launch = plan("pvh")
    names = {run_name(launch, directory) for directory in ("/a/runs/7", "/b/runs/7", "/b/a, b/\udcff\n/7")}
    assert len(names) == 3
    assert all(name.replace("-", "").isalnum() for name in names)
