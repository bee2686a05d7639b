"""A machine that someone else describes."""

from __future__ import annotations

from wirt.model.appliance import Appliance, ApplianceCard, ApplianceDisk, ApplianceKind, Controller
from wirt.model.storage import ImageFormat
from wirt.model.units import GIB, MIB

APPLIANCE = "/images/shop.ova"


def machine(name: str = "shop") -> Appliance:
    """With two disks, a CD drive and a card."""
    return Appliance(
        kind=ApplianceKind.OVA,
        name=name,
        vcpus=2,
        memory=512 * MIB,
        disks=(
            ApplianceDisk("a.vmdk", ImageFormat.VMDK, GIB, MIB, Controller.SCSI, file="a.vmdk"),
            ApplianceDisk("b.vmdk", ImageFormat.VMDK, 2 * GIB, MIB, Controller.VIRTIO, file="b.vmdk"),
            ApplianceDisk("CD", cdrom=True, writable=False, controller=Controller.IDE),
        ),
        cards=(ApplianceCard("VM Network", "00:50:56:00:00:01", "VmxNet3"),),
        lost=("a sound card",),
        signed=True,
    )
