"""Whatever a configuration holds: nothing of it is lost on the way to QEMU, and nothing collides there."""

from __future__ import annotations

import ipaddress
import json
from collections import Counter

from hypothesis import assume, given
from hypothesis import strategies as st

from wirt.hypervisors.qemu.cmdline import command_line, preview_handles
from wirt.model.devices import DiskFormat, DiskSpec, NicType, PortForward, VifKind, VifSpec
from wirt.model.domain import DomainConfig, Firmware, GuestType
from wirt.model.errors import BadInput
from wirt.plan.launch import plan_launch

from .qemu_plans import HOST, KVM, TCG, UUID_1
from .test_qemu_cmdline import values

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
vdevs = st.builds(
    lambda bus, letter: bus + letter, st.sampled_from(["xvd", "hd", "sd", "vd"]), st.sampled_from("abcdef")
)
networks = st.builds(
    lambda address, prefix: f"{ipaddress.IPv4Address(address)}/{prefix}",
    st.integers(0x01000000, 0xDFFFFFFF),
    st.integers(8, 32),
)
disks = st.lists(
    st.builds(
        DiskSpec,
        vdev=vdevs,
        target=texts.map(lambda text: "/" + text),
        format=st.sampled_from([DiskFormat.RAW, DiskFormat.QCOW2]),
        writable=st.booleans(),
        cdrom=st.booleans(),
        discard=st.booleans(),
        specification=st.sampled_from([None, "shared"]),
    ),
    max_size=8,
    unique_by=lambda disk: disk.vdev,
)
forwards = st.lists(
    st.builds(PortForward, st.sampled_from(["tcp", "udp"]), st.integers(1, 65535), st.integers(1, 65535)),
    max_size=2,
)
vifs = st.lists(
    st.builds(
        VifSpec,
        kind=st.sampled_from([*VifKind, None]),
        type=st.sampled_from([*NicType, None]),
        model=st.sampled_from([None, "virtio", "e1000e", "rtl8139"]),
        ip=st.lists(networks, max_size=2).map(tuple),
        mtu=st.sampled_from([None, 1280, 9000]),
        forwards=forwards.map(tuple),
    ),
    max_size=6,
)
configs = st.builds(
    DomainConfig,
    name=texts,
    type=st.sampled_from(GuestType),
    memory_mib=st.integers(80, 4096),
    vcpus=st.integers(1, 8),
    maxvcpus=st.sampled_from([None, 8, 16]),
    kernel=st.sampled_from([None, "/vmlinuz"]),
    cmdline=st.sampled_from(["", "console=ttyS0", "console=hvc0"]),
    firmware=st.sampled_from(Firmware),
    boot=st.sampled_from([None, "c", "dc", "ncd", "cdn"]),
    disks=disks.map(tuple),
    vifs=vifs.map(tuple),
    smbios=st.lists(st.tuples(st.just("oem"), texts), max_size=2).map(tuple),
)


def line_of(config: DomainConfig, *, kvm: bool = False) -> tuple[str, ...]:
    try:
        plan = plan_launch(config, UUID_1, 3, HOST, KVM if kvm else TCG)
    except BadInput:
        assume(False)
        raise
    return command_line(plan, "qemu", "/run/wirt/a", preview_handles(plan))


def options(word: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in word.split(","))


@given(configs)
def test_every_disk_and_card_arrives_once(config: DomainConfig) -> None:
    words = line_of(config)
    nodes = [node for node in map(json.loads, values(words, "-blockdev")) if "file" in node]
    assert [node["file"]["filename"] for node in nodes] == [disk.target for disk in config.disks]
    devices = list(values(words, "-device"))
    for disk, node in zip(config.disks, nodes, strict=True):
        assert sum(options(device).get("drive") == node["node-name"] for device in devices) == 1
        assert node["read-only"] is not (disk.writable and not disk.cdrom)
    cards = [options(device) for device in devices if "mac" in options(device)]
    assert [card["id"] for card in cards] == [f"vif{index}-device" for index in range(len(config.vifs))]
    netdevs = [options(word)["id"] for word in values(words, "-netdev")]
    assert [card["netdev"] for card in cards if "netdev" in card] == netdevs


@given(configs)
def test_slots_ids_and_boot_places_never_collide(config: DomainConfig) -> None:
    words = line_of(config)
    devices = [options(word) for word in values(words, "-device")]
    objects = [options(word) for option in ("-netdev", "-chardev", "-object") for word in values(words, option)]
    nodes = [json.loads(word)["node-name"] for word in values(words, "-blockdev")]
    slots = [device["addr"].removesuffix(".0x0") for device in devices if "addr" in device]
    numbers = [int(slot.partition(".")[0], 16) for slot in slots]
    assert all(0 < number < 31 for number in numbers), "0 and 31 are the chipset's own"
    for names in (
        slots,
        [device["bus"] for device in devices if "bus" in device],
        [device["id"] for device in devices if "id" in device] + nodes,
        [thing["id"] for thing in objects],
        [device["bootindex"] for device in devices if "bootindex" in device],
        [device["mac"] for device in devices if "mac" in device],
    ):
        assert not [name for name, times in Counter(names).items() if times > 1]


@given(configs, st.booleans())
def test_the_same_plan_always_makes_the_same_line(config: DomainConfig, kvm: bool) -> None:
    assert line_of(config, kvm=kvm) == line_of(config, kvm=kvm)


@given(configs)
def test_the_user_mode_network_has_room_for_host_guest_and_name_server(config: DomainConfig) -> None:
    for word in values(line_of(config), "-netdev"):
        card = options(word)
        if "net" not in card:
            continue
        network = ipaddress.IPv4Network(card["net"])
        own = [ipaddress.IPv4Address(card[key]) for key in ("host", "dns", "dhcpstart")]
        assert len(set(own)) == len(own)
        assert all(address in network for address in own)
        assert network.broadcast_address not in own[:2]


@given(configs)
def test_a_text_from_a_configuration_is_always_one_word(config: DomainConfig) -> None:
    words = line_of(config)
    assert words[words.index("-name") + 1] == f"guest={config.name.replace(',', ',,')},debug-threads=on"
    oem = [value.replace(",", ",,") for _, value in config.smbios]
    assert list(values(words, "-smbios")) == [f"type=11,value={value}" for value in oem]
