"""Plans for command lines: one a kind of guest, with fixed identities."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from wirt.model.devices import DiskFormat, DiskSpec, NicType, PortForward, VifKind, VifSpec
from wirt.model.domain import DomainConfig, Firmware, GuestType
from wirt.model.engine import Aio, CacheMode, IoThread
from wirt.model.memory import HugeMemory, HugePages, HugePool
from wirt.plan.engine import Medium
from wirt.plan.host import Accelerator, HostFacts, HypervisorFacts
from wirt.plan.launch import LaunchPlan, plan_launch

UUID_1 = UUID("11111111-2222-3333-4444-555555555555")
HOST = HostFacts("here", 4, 64 << 30, 64 << 30, can_bridge=True, default_bridge="wirtbr0")
TCG = HypervisorFacts(
    name="qemu",
    version=(10, 0, 2),
    accelerator=Accelerator.TCG,
    accelerator_reason="for tests",
    guest_types=frozenset(GuestType),
    firmware_files=(("ovmf", "/usr/share/OVMF/OVMF_CODE_4M.fd"), ("ovmf-variables", "/usr/share/OVMF/VARS.fd")),
)
HOSTS = {
    "huge-pages-of-a-node": replace(
        HOST, memory_nodes=(1,), huge=HugeMemory("madvise", (HugePool(2048, 64, 64),)), merging=True
    ),
    "memory-of-nodes-merged": replace(HOST, memory_nodes=(0, 2), merging=True),
}
KVM = replace(TCG, accelerator=Accelerator.KVM)
USER = VifSpec(kind=VifKind.USER)

DIRECT = DomainConfig(
    name="direct",
    type=GuestType.PVH,
    memory_mib=128,
    kernel="/boot/vmlinuz",
    ramdisk="/boot/initrd.img",
    cmdline="console=ttyS0 quiet",
)
DISK = DiskSpec(vdev="xvda", target="/images/root.qcow2", format=DiskFormat.QCOW2)
FIRMWARE = DomainConfig(name="firmware", type=GuestType.HVM, memory_mib=512, disks=(DISK,))

MEDIA = {
    "/ext4/laid-out.raw": Medium("ext4"),
    "/ext4/root.qcow2": Medium("ext4", sparse=True),
    "/tmpfs/a.raw": Medium("tmpfs", "tmpfs keeps it in memory anyway", sparse=True),
}

CONFIGS: dict[str, DomainConfig] = {
    "pvh": DIRECT,
    "pv-hvc0": replace(DIRECT, type=GuestType.PV, cmdline="root=/dev/vda1 console=tty0 console=hvc0"),
    "hvm-seabios-ahci-cd-e1000": replace(
        FIRMWARE,
        disks=(
            DiskSpec(vdev="hda", target="/images/windows.raw"),
            DiskSpec(vdev="hdc", target="/images/setup.iso", cdrom=True, writable=False),
            DiskSpec(vdev="hdd", cdrom=True, format=DiskFormat.EMPTY),
        ),
        vifs=(replace(USER, type=NicType.IOEMU),),
        boot="dcn",
    ),
    "hotplug-memory": replace(DIRECT, hotplug_mib=512),
    "hvm-ovmf": replace(FIRMWARE, firmware=Firmware.OVMF),
    "hvm-own-bios": replace(FIRMWARE, firmware_path="/opt/bios.bin"),
    "user-forwards-static-address": replace(
        DIRECT,
        vifs=(
            replace(
                USER,
                ip=("fd00::7/64", "192.168.7.20/24"),
                forwards=(PortForward("tcp", 22, 2222), PortForward("udp", 53, 5353)),
            ),
        ),
    ),
    "bridged-cards": replace(
        DIRECT,
        vifs=(
            VifSpec(mac="00:16:3e:00:00:01", bridge="br0", mtu=9000),
            VifSpec(mac="00:16:3e:00:00:02", bridge="br1", model="e1000e", mtu=1400),
            USER,
            VifSpec(mac="00:16:3e:00:00:04", bridge="br0", vifname="web0"),
            VifSpec(kind=VifKind.NONE, model="rtl8139"),
        ),
    ),
    "xvd-disks": replace(
        DIRECT,
        disks=(
            DISK,
            DiskSpec(vdev="xvdb", target="/images/data.raw", discard=False),
            DiskSpec(vdev="xvdc", target="/images/templates.qcow2", format=DiskFormat.QCOW2, writable=False),
            DiskSpec(vdev="sdd", target="/images/shared.raw", specification="shared"),
        ),
    ),
    "boot-from-network": replace(FIRMWARE, vifs=(USER, USER), boot="nc"),
    "smbios": replace(
        DIRECT, smbios=(("oem", "wirt:hostname=a"), ("oem", "with, a comma"), ("bios_vendor", "nobody"))
    ),
    "commas-quotes-newlines": replace(
        DIRECT,
        name="a,b \"c\" 'd'\nnext=line",
        kernel="/boot/a,b.elf",
        ramdisk="/boot/with space,comma",
        cmdline='console=ttyS0 word="a,b"',
        disks=(DiskSpec(vdev="xvda", target='/images/a,b "c"\n\\d.raw'),),
    ),
    "kvm": replace(DIRECT, vcpus=2),
    "block-devices": replace(
        DIRECT,
        disks=(
            DiskSpec(vdev="xvda", target="/dev/vg/root"),
            DiskSpec(vdev="xvdb", target="/dev/vg/shared", specification="shared"),
        ),
    ),
    "disk-engines": replace(
        DIRECT,
        vcpus=2,
        maxvcpus=12,
        disks=(
            DiskSpec(vdev="xvda", target="/ext4/laid-out.raw"),
            DiskSpec(vdev="xvdb", target="/ext4/root.qcow2", format=DiskFormat.QCOW2, iothread=IoThread.SHARED),
            DiskSpec(vdev="xvdc", target="/ext4/laid-out.raw", aio=Aio.IO_URING, iothread=IoThread.SHARED),
            DiskSpec(vdev="xvdd", target="/tmpfs/a.raw", cache=CacheMode.NONE, aio=Aio.NATIVE),
            DiskSpec(vdev="xvde", target="/ext4/laid-out.raw", cache=CacheMode.WRITETHROUGH, queues=3),
            DiskSpec(vdev="xvdf", target="/ext4/laid-out.raw", cache=CacheMode.UNSAFE, iothread=IoThread.OWN),
        ),
    ),
    "maxvcpus": replace(DIRECT, vcpus=2, maxvcpus=8),
    "huge-pages-of-a-node": replace(DIRECT, huge_pages=HugePages.TWO_MIB),
    "memory-of-nodes-merged": replace(DIRECT, free_page_reporting=False),
    "device-model-args": replace(DIRECT, device_model_args=("-global", "isa-debugcon.iobase=0x402")),
}


def plan(name: str) -> LaunchPlan:
    facts = KVM if name == "kvm" else TCG
    devices = frozenset({"/dev/vg/root", "/dev/vg/shared"})
    return plan_launch(CONFIGS[name], UUID_1, 7, HOSTS.get(name, HOST), facts, devices, media=MEDIA)
