"""Descriptions of machines: what is understood, what is written can be read, and nothing breaks the reader."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hostile.mutations import mutated
from tests.storage import archives
from tests.storage.archives import Disk

from wirt.config import markup, ovf, tarheader, xva
from wirt.config.ovf import manifest, units
from wirt.model.appliance import Appliance, ApplianceCard, ApplianceDisk, ApplianceKind, Controller
from wirt.model.domain import Firmware
from wirt.model.errors import BadInput
from wirt.model.storage import ImageFormat
from wirt.model.units import GIB, MIB

OVF_2 = b"""<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/2"
  xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/2"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:sasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_StorageAllocationSettingData.xsd"
  xmlns:epasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_EthernetPortAllocationSettingData.xsd">
  <References><File ovf:id="f" ovf:href="a%20disk.vmdk"/></References>
  <DeploymentOptionSection><Info/><Configuration ovf:id="small"/>
    <Configuration ovf:id="large" ovf:default="true"/></DeploymentOptionSection>
  <DiskSection><Info/><Disk ovf:diskId="d" ovf:fileRef="f" ovf:capacity="8"
    ovf:capacityAllocationUnits="byte * 2^30" ovf:format="vmdk"/></DiskSection>
  <VirtualSystem ovf:id="two"><Info/><VirtualHardwareSection><Info/>
    <Item ovf:configuration="small"><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType>
      <rasd:VirtualQuantity>1</rasd:VirtualQuantity></Item>
    <Item ovf:configuration="large"><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType>
      <rasd:VirtualQuantity>8</rasd:VirtualQuantity></Item>
    <Item><rasd:AllocationUnits>GigaBytes</rasd:AllocationUnits><rasd:InstanceID>2</rasd:InstanceID>
      <rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
    <Item ovf:bound="max"><rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType>
      <rasd:VirtualQuantity>9</rasd:VirtualQuantity></Item>
    <StorageItem><sasd:HostResource>ovf:/disk/d</sasd:HostResource><sasd:InstanceID>3</sasd:InstanceID>
      <sasd:ResourceType>31</sasd:ResourceType></StorageItem>
    <EthernetPortItem><epasd:Address>00-50-56-00-00-0A</epasd:Address><epasd:Connection>net</epasd:Connection>
      <epasd:InstanceID>4</epasd:InstanceID><epasd:ResourceType>10</epasd:ResourceType></EthernetPortItem>
  </VirtualHardwareSection></VirtualSystem></Envelope>"""


def test_ovf_2_with_a_choice_of_sizes_is_understood() -> None:
    found = ovf.read(OVF_2, "two.ovf", ApplianceKind.OVF)
    assert (found.name, found.vcpus, found.memory) == ("two", 8, 2 * GIB)
    assert [(disk.file, disk.size, disk.format) for disk in found.disks] == [
        ("a disk.vmdk", 8 * GIB, ImageFormat.VMDK)
    ]
    assert found.cards == (ApplianceCard("net", "00:50:56:00:00:0a", ""),)
    assert any("choice of sizes" in each for each in found.lost)
    assert any("a limit of" in each for each in found.lost)


@pytest.mark.parametrize(
    ("unit", "power"),
    [("byte * 2^20", 20), ("MegaBytes", 20), ("MB", 20), ("byte", 0), ("byte * 2 ^ 30", 30), ("GigaBytes", 30)],
)
def test_units_are_those_of_any_age(unit: str, power: int) -> None:
    assert units.factor(unit, "x") == 1 << power
    with pytest.raises(BadInput):
        units.factor("hertz", "x")


NAMES = st.text(string.ascii_letters + string.digits + "&<>'\" ü-", min_size=1, max_size=20).map(str.strip)
FILES = st.text(string.ascii_letters + "-_", min_size=1, max_size=12)


@st.composite
def machines(draw: st.DrawFn) -> Appliance:
    names = draw(st.lists(FILES, min_size=1, max_size=5, unique=True))
    disks = [
        ApplianceDisk(
            f"{name}.vmdk",
            ImageFormat.VMDK,
            draw(st.integers(1, 1 << 50)),
            draw(st.integers(1, 1 << 50)),
            draw(st.sampled_from([Controller.SATA, Controller.VIRTIO])),
            file=f"{name}.vmdk",
            vdev=f"xvd{chr(ord('a') + number)}",
        )
        for number, name in enumerate(names)
    ]
    cd = ApplianceDisk("hdz drive", controller=Controller.SATA, cdrom=True, writable=False)
    macs = st.none() | st.binary(min_size=6, max_size=6).map(lambda data: data.hex(":"))
    cards = draw(st.lists(st.builds(ApplianceCard, NAMES.filter(bool), macs, FILES), max_size=3))
    return Appliance(
        kind=ApplianceKind.OVA,
        name=draw(NAMES.filter(bool)),
        vcpus=draw(st.integers(1, 4096)),
        memory=draw(st.integers(1, 1 << 26)) * MIB,
        firmware=draw(st.sampled_from(Firmware)),
        disks=(*disks, *([cd] if draw(st.booleans()) else [])),
        cards=tuple(cards),
    )


@given(machines())
def test_what_is_written_is_read_as_it_was(machine: Appliance) -> None:
    found = ovf.read(ovf.write(machine).encode(), "x.ovf", ApplianceKind.OVA)
    lost = tuple(each for each in found.lost if not each.startswith("the controller"))
    assert lost == ()
    assert found == Appliance(**{name: getattr(machine, name) for name in FIELDS}, lost=found.lost)


FIELDS = ("kind", "name", "vcpus", "memory", "firmware", "disks", "cards")


@given(st.dictionaries(FILES, st.binary(min_size=32, max_size=32).map(bytes.hex), max_size=5))
def test_a_manifest_that_is_written_is_read(digests: dict[str, str]) -> None:
    found = manifest.read(manifest.write(digests).encode(), "x.mf")
    assert found == {name: ("sha256", digest) for name, digest in digests.items()}


def test_a_manifest_with_two_digests_or_none_is_refused() -> None:
    for text in ("SHA256(a)= 00", "MD5(a)= " + "0" * 40, "SHA1(../a)= " + "0" * 40, "nothing"):
        with pytest.raises(BadInput):
            manifest.read(text.encode(), "x.mf")
    line = "SHA1(a)= " + "0" * 40 + "\n"
    with pytest.raises(BadInput, match="two digests"):
        manifest.read((line * 2).encode(), "x.mf")


SAMPLES = {
    "ovf": archives.ovf([Disk("d.vmdk", MIB, 5)], more=archives.VMWARE + archives.card(0, "VM Network")),
    "ovf2": OVF_2,
    "xva": archives.xva_description({"Ref:7": 8 * MIB, "Ref:9": MIB}),
    "manifest": archives.manifest({"a.ovf": b"x", "b.vmdk": b"y"}),
    "tar": archives.tar([("a.ovf", b"x"), ("b" * 90, b"y" * 600)]),
}


def read_all(data: bytes) -> None:
    """Each reader: it understands, or refuses."""
    for read in (
        lambda: ovf.read(data, "x.ovf", ApplianceKind.OVA),
        lambda: xva.read(data, "ova.xml"),
        lambda: manifest.read(data, "x.mf"),
        lambda: tarheader.parse(data[:512], "x.ova"),
        lambda: tarheader.extended(data[:4096], "x.ova"),
    ):
        try:
            read()
        except BadInput as error:
            assert str(error).isprintable(), "no message moves a terminal's cursor"


@given(st.binary(max_size=2000))
def test_any_bytes_are_understood_or_refused(data: bytes) -> None:
    read_all(data)


def test_damaged_descriptions_are_understood_or_refused() -> None:
    for data in mutated(list(SAMPLES.values()), 600, seed=4):
        read_all(data)


@pytest.mark.long
def test_many_damaged_descriptions_are_understood_or_refused() -> None:
    for data in mutated(list(SAMPLES.values()), 50_000, seed=5):
        read_all(data)


def test_markup_is_bounded_in_every_direction() -> None:
    for text, words in (
        (b"<a>" * 100, "too deep"),
        (b"<r>" + b"<a/>" * (markup.MOST_ELEMENTS + 1) + b"</r>", "too large"),
        (b"<a>" + b"x" * (markup.MOST_TEXT + 1) + b"</a>", "more than"),
        (b"<a " + b" ".join(b'a%d="1"' % n for n in range(100)) + b"/>", "too large"),
        (b" " * (markup.MOST_BYTES + 1), "bytes"),
        (b"<!DOCTYPE a><a/>", "document type"),
        (b'<?xml version="1.0" encoding="nosuch"?><a/>', "XML|read"),
        (b"", "not XML"),
    ):
        with pytest.raises(BadInput, match=words):
            markup.parse(text, "x.xml")
