"""What a domain becomes for others, what is said of the rest, and that it comes back the same."""

from __future__ import annotations

from pathlib import PurePosixPath
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirt.config import ovf
from wirt.config.xlcfg import load
from wirt.model.appliance import ApplianceKind
from wirt.model.devices import DiskFormat
from wirt.model.domain import Domain, DomainConfig
from wirt.model.errors import BadInput
from wirt.model.storage import ImageFormat
from wirt.plan.exports import plan_export, with_sizes
from wirt.plan.imports import Here, ImportWish, plan_import

POOLS = frozenset({"default"})


def domain(text: str) -> Domain:
    loaded = load(text, file="web.cfg", cwd=PurePosixPath("/"), pools=POOLS)
    return Domain(UUID(int=1), load(loaded.text, file="s", cwd=PurePosixPath("/")).config, loaded.text)


def hvm(more: str = "", disk: str = '"default/web,,hda,rw"') -> Domain:
    return domain(f'name = "web"\ntype = "hvm"\nmemory = 256\nvcpus = 2\ndisk = [{disk}]\n{more}\n')


def lost(subject: Domain) -> str:
    macs = ["00:16:3e:00:00:01"] * len(subject.config.vifs)
    return "\n".join(plan_export(subject, macs, ImageFormat.VMDK).lost)


def test_a_plain_machine_loses_nothing() -> None:
    assert lost(hvm('vif = ["model=e1000"]\non_reboot = "restart"\nfirmware = "uefi"')) == ""


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("cpu_weight = 512", "its cpu_weight (512)"),
        ("cap = 50", "its cap (50)"),
        ('on_crash = "restart"', "its on_crash (restart)"),
        ('boot = "dc"', "its boot (dc)"),
        ("maxvcpus = 8", "its maxvcpus (8)"),
        ("usb = 1", "its usb"),
        ('soundhw = "hda"', "its soundhw"),
        ('vif = ["rate=10Mb/s"]', "rate of card 0"),
        ('vif = ["network=lan,groups=web"]', "groups of card 0"),
        ('vif = ["", "ip=192.0.2.1,vlan=7"]', "vlan of card 1"),
    ],
)
def test_what_ovf_has_no_words_for_is_listed(more: str, told: str) -> None:
    assert told in lost(hvm(more))


def test_disks_that_are_not_as_others_know_them_are_listed() -> None:
    told = lost(hvm(disk='"default/a,,sda,rw", "default/b,,xvdb,ro", "/iso/x.iso,raw,hdc,cdrom"'))
    assert "the name sda of a disk" in told
    assert "that xvdb can't be written" in told
    assert "what lies in the CD drive hdc (/iso/x.iso)" in told


def test_a_guest_that_is_entered_directly_says_what_it_loses() -> None:
    text = 'name = "web"\ntype = "pvh"\nkernel = "/boot/k"\ncmdline = "quiet"\nmemory = 128\n'
    told = lost(domain(f'{text}disk = ["default/web,,xvda,rw"]\n'))
    assert "that it is pvh" in told and "its kernel (/boot/k)" in told and "its cmdline (quiet)" in told
    with pytest.raises(BadInput, match="no disk"):
        plan_export(domain(text), [], ImageFormat.VMDK)


def there_and_back(subject: Domain, macs: list[str], size: int) -> DomainConfig:
    plan = plan_export(subject, macs, ImageFormat.VMDK)
    machine = with_sizes(plan.machine, [(size, 512)] * len(plan.disks))
    read = ovf.read(ovf.write(machine).encode(), "web.ovf", ApplianceKind.OVA)
    back = plan_import(read, ImportWish(), Here(("lan",), (), DiskFormat.QCOW2))
    return load(back.config, file="back", cwd=PurePosixPath("/"), pools=POOLS).config


CARDS = st.tuples(
    st.sampled_from(["e1000", "e1000e", "vmxnet3", "virtio", "rtl8139", "pcnet"]), st.integers(0, 255)
)
BUSES = {"emulated": "hd", "paravirtual": "xvd"}
KINDS = st.lists(st.sampled_from([*BUSES, "optical"]), min_size=1, max_size=4)


@given(
    st.integers(1, 64),
    st.integers(1, 1 << 20),
    KINDS,
    st.lists(CARDS, max_size=4, unique_by=lambda c: c[1]),
    st.booleans(),
)
def test_what_goes_out_comes_back_the_same(
    vcpus: int, memory: int, kinds: list[str], cards: list[tuple[str, int]], uefi: bool
) -> None:
    if set(kinds) == {"optical"}:
        kinds[0] = "emulated"
    entries = [
        f'"default/v{letter},,{BUSES[kind]}{letter},rw"' if kind in BUSES else f'",,hd{letter},cdrom"'
        for kind, letter in zip(kinds, "abcd", strict=False)
    ]
    macs = [f"00:16:3e:00:00:{last:02x}" for _, last in cards]
    vifs = [f'"mac={mac},network=lan,model={model}"' for mac, (model, _) in zip(macs, cards, strict=True)]
    text = (
        f'name = "web"\ntype = "hvm"\nmemory = {memory}\nvcpus = {vcpus}\n'
        f"disk = [{', '.join(entries)}]\nvif = [{', '.join(vifs)}]\n" + ('firmware = "uefi"\n' if uefi else "")
    )
    subject = domain(text)
    back = there_and_back(subject, macs, 4096)
    assert (back.name, back.memory_mib, back.vcpus, back.firmware) == (
        "web",
        memory,
        vcpus,
        subject.config.firmware,
    )
    assert back.vifs == subject.config.vifs
    assert [(d.vdev, d.cdrom, d.writable) for d in back.disks] == [
        (d.vdev, d.cdrom, d.writable) for d in subject.config.disks
    ]
