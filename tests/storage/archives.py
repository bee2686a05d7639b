"""Archives of machines as others write them, made by hand: OVF as VMware does, XVA in its old and its new form."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from wirt.storage.appliances.xxh64 import xxh64

MIB = 1024 * 1024


def tar(members: Iterable[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def image(
    folder: Path, content: bytes, format_: str = "vmdk", options: str = "subformat=streamOptimized"
) -> bytes:
    """``content`` as qemu-img writes it."""
    raw, made = folder / "content.raw", folder / f"content.{format_}"
    raw.write_bytes(content)
    more = ["-o", options] if options else []
    subprocess.run(["qemu-img", "convert", "-O", format_, *more, str(raw), str(made)], check=True, timeout=60)
    return made.read_bytes()


# OVF

VMWARE = """\
      <Item>
        <rasd:Address>0</rasd:Address><rasd:Description>SCSI Controller</rasd:Description>
        <rasd:ElementName>SCSI Controller 0</rasd:ElementName><rasd:InstanceID>3</rasd:InstanceID>
        <rasd:ResourceSubType>lsilogic</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:ElementName>USB Controller</rasd:ElementName><rasd:InstanceID>90</rasd:InstanceID>
        <rasd:ResourceType>23</rasd:ResourceType>
      </Item>
      <Item ovf:required="false">
        <rasd:ElementName>sound</rasd:ElementName><rasd:InstanceID>91</rasd:InstanceID>
        <rasd:ResourceSubType>ensoniq1371</rasd:ResourceSubType><rasd:ResourceType>35</rasd:ResourceType>
      </Item>
      <Item ovf:required="false">
        <rasd:ElementName>Floppy 1</rasd:ElementName><rasd:InstanceID>92</rasd:InstanceID>
        <rasd:ResourceType>14</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:ElementName>Strange</rasd:ElementName><rasd:InstanceID>93</rasd:InstanceID>
        <rasd:ResourceType>4711</rasd:ResourceType>
        <vmw:CoresPerSocket ovf:required="false">2</vmw:CoresPerSocket>
      </Item>
      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
      <vmw:ExtraConfig ovf:required="false" vmw:key="nvram" vmw:value="web.nvram"/>
"""
CD = """\
      <Item>
        <rasd:ElementName>CD-ROM 1</rasd:ElementName><rasd:InstanceID>80</rasd:InstanceID>
        <rasd:Parent>3</rasd:Parent><rasd:AddressOnParent>7</rasd:AddressOnParent>
        <rasd:ResourceType>15</rasd:ResourceType>
      </Item>
"""


def card(number: int, network: str, mac: str = "", model: str = "VmxNet3") -> str:
    address = f"<rasd:Address>{mac}</rasd:Address>" if mac else ""
    return f"""\
      <Item>
        {address}<rasd:Connection>{escape(network)}</rasd:Connection>
        <rasd:ElementName>Ethernet {number}</rasd:ElementName><rasd:InstanceID>{50 + number}</rasd:InstanceID>
        <rasd:ResourceSubType>{model}</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType>
      </Item>
"""


@dataclass(frozen=True)
class Disk:
    """``capacity`` in bytes, as the descriptor says it."""

    file: str
    capacity: int
    size: int | None = None


def ovf(
    disks: Sequence[Disk],
    *,
    name: str = "web",
    more: str = "",
    sections: str = "",
    memory: str = "512",
    unit: str = "byte * 2^20",
    cpus: str = "2",
) -> bytes:
    sizes = [f' ovf:size="{disk.size}"' if disk.size is not None else "" for disk in disks]
    files = "".join(
        f'<File ovf:id="file{n}" ovf:href="{escape(disk.file)}"{sizes[n]}/>' for n, disk in enumerate(disks)
    )
    entries = "".join(
        f'<Disk ovf:diskId="vmdisk{n}" ovf:capacity="{disk.capacity}" ovf:fileRef="file{n}" '
        f'ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>'
        for n, disk in enumerate(disks)
    )
    drives = "".join(
        f"<Item><rasd:AddressOnParent>{n}</rasd:AddressOnParent><rasd:ElementName>disk{n}</rasd:ElementName>"
        f"<rasd:HostResource>ovf:/disk/vmdisk{n}</rasd:HostResource><rasd:InstanceID>{10 + n}</rasd:InstanceID>"
        f"<rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>"
        for n, _ in enumerate(disks)
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
  xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>{files}</References>
  <DiskSection><Info>disks</Info>{entries}</DiskSection>
  <NetworkSection><Info>networks</Info><Network ovf:name="VM Network"/></NetworkSection>
  <VirtualSystem ovf:id="vm"><Info>a machine</Info><Name>{escape(name)}</Name>
    <OperatingSystemSection ovf:id="96"><Info>system</Info><Description>Debian 64-bit</Description>
    </OperatingSystemSection>{sections}
    <VirtualHardwareSection><Info>hardware</Info>
      <Item><rasd:AllocationUnits>hertz * 10^6</rasd:AllocationUnits><rasd:InstanceID>1</rasd:InstanceID>
        <rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>{cpus}</rasd:VirtualQuantity></Item>
      <Item><rasd:AllocationUnits>{unit}</rasd:AllocationUnits><rasd:InstanceID>2</rasd:InstanceID>
        <rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>{memory}</rasd:VirtualQuantity></Item>
{drives}{more}    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
""".encode()


def manifest(files: Mapping[str, bytes], algorithm: str = "sha256") -> bytes:
    lines = [
        f"{algorithm.upper()}({name})= {hashlib.new(algorithm, data).hexdigest()}" for name, data in files.items()
    ]
    return "".join(f"{line}\n" for line in lines).encode()


# XVA


def chunks(reference: str, content: bytes, *, new: bool, skip_zeroes: bool = True) -> list[tuple[str, bytes]]:
    """The pieces of 1 MiB, empty ones left out but for the first and the last, each with what vouches for it."""
    found: list[tuple[str, bytes]] = []
    last = (len(content) - 1) // MIB
    for number in range(last + 1):
        piece = content[number * MIB : (number + 1) * MIB]
        if skip_zeroes and not any(piece) and number not in (0, last):
            continue
        name = f"{reference}/{number:08d}"
        checksum = f"{xxh64(piece):016x}" if new else hashlib.sha1(piece).hexdigest()
        found += [(name, piece), (f"{name}.{'xxhash' if new else 'checksum'}", checksum.encode())]
    return found


def value(data: object) -> str:
    if isinstance(data, dict):
        members = "".join(f"<member><name>{escape(k)}</name>{value(v)}</member>" for k, v in data.items())
        return f"<value><struct>{members}</struct></value>"
    if isinstance(data, list):
        return f"<value><array><data>{''.join(map(value, data))}</data></array></value>"
    if isinstance(data, bool):
        return f"<value><boolean>{int(data)}</boolean></value>"
    return f"<value>{escape(str(data))}</value>"


def xva_description(disks: Mapping[str, int], *, hvm: bool = True, **more: object) -> bytes:
    """``disks``: sizes in bytes by reference."""
    objects: list[dict[str, object]] = []
    drives = []
    for number, (reference, size) in enumerate(disks.items()):
        drives.append(f"Ref:{100 + number}")
        drive = {"VDI": reference, "userdevice": str(number), "type": "Disk", "mode": "RW", "empty": False}
        objects.append({"class": "VBD", "id": drives[-1], "snapshot": drive})
        disk = {"name_label": f"disk {number}", "virtual_size": str(size)}
        objects.append({"class": "VDI", "id": reference, "snapshot": disk})
    cd = {"VDI": "OpaqueRef:NULL", "userdevice": "3", "type": "CD", "mode": "RO", "empty": True}
    nic = {"device": "0", "MAC": "5E:00:00:00:00:01", "network": "Ref:61", "MTU": "1500"}
    machine: dict[str, object] = {
        "name_label": "shop",
        "uuid": "1c3f6f52-0000-4000-8000-000000000001",
        "is_a_template": False,
        "is_a_snapshot": False,
        "memory_static_max": str(256 * MIB),
        "VCPUs_at_startup": "2",
        "HVM_boot_policy": "BIOS order" if hvm else "",
        "HVM_boot_params": {"order": "cd"} if hvm else {},
        "PV_bootloader": "" if hvm else "pygrub",
        "VBDs": [*drives, "Ref:199"],
        "VIFs": ["Ref:60"],
        "VGPUs": [],
        "snapshots": [],
        "other_config": {"auto_poweron": "true"},
        **more,
    }
    objects += [
        {"class": "VBD", "id": "Ref:199", "snapshot": cd},
        {"class": "VIF", "id": "Ref:60", "snapshot": nic},
        {"class": "network", "id": "Ref:61", "snapshot": {"name_label": "Pool-wide network", "bridge": "xenbr0"}},
        {"class": "VM", "id": "Ref:0", "snapshot": machine},
    ]
    version = {"hostname": "xen", "product_version": "8.2.1", "xapi_major": 1}
    return value({"version": version, "objects": objects}).encode()


def xva(disks: Mapping[str, bytes], *, new: bool, hvm: bool = True, **more: object) -> bytes:
    description = xva_description({name: len(data) for name, data in disks.items()}, hvm=hvm, **more)
    members = [("ova.xml", description)]
    for reference, content in disks.items():
        members += chunks(reference, content, new=new)
    return tar(members)
