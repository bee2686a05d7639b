"""What becomes of someone else's machine here, and what is said of the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operations.appliance_kit import machine

from wirt.config.xlcfg import load
from wirt.model.appliance import Appliance, ApplianceCard, ApplianceDisk, ApplianceKind, Controller
from wirt.model.devices import DiskFormat
from wirt.model.domain import DomainConfig, Firmware
from wirt.model.errors import BadInput
from wirt.model.storage import ImageFormat
from wirt.model.units import GIB, MIB
from wirt.plan.imports import Here, ImportPlan, ImportWish, plan_import

HERE = Here(("lan",), ("00:16:3e:00:00:09",), DiskFormat.QCOW2)


def planned(appliance: Appliance, wish: ImportWish | None = None) -> tuple[ImportPlan, DomainConfig]:
    plan = plan_import(appliance, wish or ImportWish(), HERE)
    loaded = load(plan.config, file="plan", cwd=PurePosixPath("/"), pools=frozenset({"default"}))
    assert not loaded.notices
    return plan, loaded.config


def disk(label: str, **more: object) -> ApplianceDisk:
    return replace(ApplianceDisk(label, ImageFormat.RAW, GIB, MIB, file=label), **more)  # type: ignore[arg-type]


def test_disks_get_names_that_their_guest_knows() -> None:
    plan, config = planned(machine())
    assert [each.vdev for each in config.disks] == ["hda", "xvdb", "hdc"]
    assert config.disks[2].cdrom and config.disks[2].target is None
    assert [str(each.volume) for each in plan.disks] == ["default/shop", "default/shop-1"]
    assert [each.source for each in plan.disks] == [0, 1]


def test_a_fifth_emulated_disk_and_one_that_is_only_read_are_paravirtual_and_that_is_said() -> None:
    disks = [disk(f"d{n}", controller=Controller.IDE) for n in range(5)]
    disks[1] = replace(disks[1], writable=False)
    cd = ApplianceDisk("second CD", cdrom=True, writable=False)
    plan, config = planned(replace(machine(), disks=(*disks, cd)))
    assert [each.vdev for each in config.disks] == ["hda", "xvdb", "hdc", "hdd", "xvde"]
    assert not config.disks[1].writable
    lost = "\n".join(plan.lost)
    assert "controller of the disk d1: it can only be read" in lost
    assert "controller of the disk d4" in lost and "the CD drive second CD" in lost


def test_a_disk_that_nothing_comes_with_is_a_new_one() -> None:
    plan, config = planned(replace(machine(), disks=(disk("a"), disk("scratch", file=None))))
    assert [each.source for each in plan.disks] == [0, None]
    assert config.disks[1].volume == "default/shop-1"


def test_names_that_an_archive_gives_its_drives_are_kept_if_they_fit() -> None:
    kept = (disk("a", vdev="xvdc"), disk("b", vdev="hda"))
    assert [each.vdev for each in planned(replace(machine(), disks=kept))[1].disks] == ["xvdc", "hda"]
    for bad in ((disk("a", vdev="hda"), disk("b", vdev="xvda")), (disk("a", vdev="hdb"), disk("b"))):
        assert [each.vdev for each in planned(replace(machine(), disks=bad))[1].disks] == ["hda", "hdb"]


def test_cards_go_where_it_is_said_or_where_their_network_is() -> None:
    cards = (ApplianceCard("lan", "00:50:56:00:00:01", "E1000"), ApplianceCard("gone", None, "Flexible"))
    plan, config = planned(replace(machine(), cards=cards))
    assert [(vif.network, vif.model, vif.mac) for vif in config.vifs] == [
        ("lan", "e1000", "00:50:56:00:00:01"),
        (None, None, None),
    ]
    assert any("the network 'gone' of card 1" in each for each in plan.lost)
    assert any("the model Flexible of card 1" in each for each in plan.lost)
    plan, config = planned(replace(machine(), cards=cards), ImportWish(bridges=("br0", "br1")))
    assert [vif.bridge for vif in config.vifs] == ["br0", "br1"]
    assert not any("network" in each for each in plan.lost)
    with pytest.raises(BadInput, match="3 bridges are given"):
        planned(replace(machine(), cards=cards), ImportWish(bridges=("a", "b", "c")))
    with pytest.raises(BadInput, match="no name of a bridge"):
        planned(machine(), ImportWish(bridges=("br0,script=/x",)))


@pytest.mark.parametrize("mac", ["00:16:3e:00:00:09", "01:00:5e:00:00:01", "00:00:00:00:00:00"])
def test_an_address_that_is_taken_or_impossible_is_not_taken_over(mac: str) -> None:
    plan, config = planned(replace(machine(), cards=(ApplianceCard("lan", mac),)))
    assert config.vifs[0].mac is None
    assert any(f"the address {mac} of card 0" in each for each in plan.lost)


def test_two_cards_with_one_address_do_not_both_get_it() -> None:
    cards = (ApplianceCard("lan", "00:50:56:00:00:01"),) * 2
    _, config = planned(replace(machine(), cards=cards))
    assert [vif.mac for vif in config.vifs] == ["00:50:56:00:00:01", None]


def test_a_bare_image_gets_what_is_wished_else_defaults() -> None:
    bare = Appliance(ApplianceKind.IMAGE, "disk", disks=(disk("disk.raw"),))
    _, config = planned(bare)
    assert (config.memory_mib, config.vcpus, len(config.vifs)) == (1024, 1, 1)
    _, config = planned(bare, ImportWish("x", memory=64, vcpus=3, bridges=("br0",)))
    assert (config.name, config.memory_mib, config.vcpus, config.vifs[0].bridge) == ("x", 64, 3, "br0")


def test_firmware_and_boot_order_are_kept() -> None:
    _, config = planned(replace(machine(), firmware=Firmware.OVMF, boot="dc"))
    assert (config.firmware, config.boot) == (Firmware.OVMF, "dc")


@pytest.mark.parametrize(
    ("said", "becomes"),
    [
        ("My Web Server!", "My-Web-Server"),
        ("--rf", "rf"),
        ("x\x1b[2J", "x-2J"),
        ("17", "imported-17"),
        ("Domain-0", "imported-Domain-0"),
        ("ü" * 5 + "a", "a"),
    ],
)
def test_a_name_that_no_domain_can_have_becomes_one_and_that_is_said(said: str, becomes: str) -> None:
    plan, config = planned(replace(machine(), name=said))
    assert config.name == becomes
    assert any("its name" in each for each in plan.lost)


def test_numbers_that_no_domain_can_have_are_refused() -> None:
    for wish in (ImportWish(memory=0), ImportWish(memory=-5), ImportWish(vcpus=0), ImportWish(vcpus=4096)):
        with pytest.raises(BadInput):
            planned(machine(), wish)
    with pytest.raises(BadInput, match="4000 CPUs are wanted"):
        planned(replace(machine(), vcpus=4000))
    for size in (0, 1 << 60):
        with pytest.raises(BadInput, match="a disk has 1 to"):
            planned(replace(machine(), disks=(disk("d", size=size),)))
    with pytest.raises(BadInput, match="has no disk"):
        planned(replace(machine(), disks=()))
    with pytest.raises(BadInput, match="no name"):
        planned(replace(machine(), name="///"))


WORDS = st.text(max_size=30)
MACS = st.none() | st.binary(min_size=6, max_size=6).map(lambda data: data.hex(":"))
CARDS = st.builds(ApplianceCard, WORDS, MACS, WORDS)
DISKS = st.builds(
    ApplianceDisk,
    label=WORDS,
    format=st.sampled_from(ImageFormat),
    size=st.integers(1, 1 << 40),
    stored=st.integers(0, 1 << 40),
    controller=st.sampled_from(Controller),
    cdrom=st.booleans(),
    writable=st.booleans(),
    file=st.none() | WORDS,
    vdev=st.sampled_from(["", "hda", "hdb", "xvda", "xvdz"]),
)


@given(
    st.builds(
        Appliance,
        kind=st.sampled_from(ApplianceKind),
        name=WORDS,
        vcpus=st.none() | st.integers(1, 255),
        memory=st.none() | st.integers(1, 1 << 46),
        firmware=st.sampled_from(Firmware),
        boot=st.none() | st.sampled_from(["c", "dcn"]),
        disks=st.lists(DISKS, max_size=8).map(tuple),
        cards=st.lists(CARDS, max_size=4).map(tuple),
    )
)
def test_whatever_is_said_the_plan_is_a_configuration_of_its_own_volumes_or_refused(appliance: Appliance) -> None:
    try:
        plan, config = planned(appliance)
    except BadInput:
        return
    named = {disk.volume for disk in config.disks if disk.target is not None}
    assert named == {str(each.volume) for each in plan.disks}, "no path of the host can be named"
    assert all(disk.target is None or disk.volume for disk in config.disks)
    assert all(vif.script is None and vif.bridge is None for vif in config.vifs)
    assert config.kernel is None and config.device_model_args == ()
    assert len({disk.vdev for disk in config.disks}) == len(config.disks)
