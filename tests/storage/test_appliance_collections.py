"""Of a package with several machines that one is imported which is named, with its disks and nobody else's."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from wirt.model.errors import BadInput, NotFound
from wirt.storage.appliances.host import HostAppliances

from .appliance_rig import CONTENT, Rig
from .archives import MIB, Disk, image, manifest, ovf, tar, xva

OTHER = random.Random(5).randbytes(2 * MIB)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path, HostAppliances())


def two(folder: Path) -> dict[str, bytes]:
    """``web`` with the first disk, ``db`` with the second."""
    files = {"web.vmdk": image(folder, CONTENT), "db.vmdk": image(folder, OTHER)}
    disks = [Disk("web.vmdk", len(CONTENT), len(files["web.vmdk"])), Disk("db.vmdk", len(OTHER), None)]
    text = ovf(disks).decode()
    begin, end = text.index("<VirtualSystem "), text.index("</Envelope>")
    systems = [_only(text[begin:end], number, name) for number, name in enumerate(("web", "db"))]
    collection = (
        f'<VirtualSystemCollection ovf:id="shop"><Info>two</Info>{"".join(systems)}</VirtualSystemCollection>'
    )
    descriptor = f"{text[:begin]}{collection}{text[end:]}".encode()
    return {"shop.ovf": descriptor, "shop.mf": manifest({"shop.ovf": descriptor, **files}), **files}


def _only(system: str, number: int, name: str) -> str:
    other = rf"<Item><rasd:AddressOnParent>{1 - number}<.*?</Item>"
    system = re.sub(other, "", system, flags=re.DOTALL)
    return system.replace('ovf:id="vm"', f'ovf:id="vm{number}"').replace("<Name>web<", f"<Name>{name}<")


async def test_which_one_is_to_be_said(rig: Rig, tmp_path: Path) -> None:
    path = rig.write(tar(two(tmp_path).items()), "shop.ova")
    with pytest.raises(BadInput, match="describes 2 systems: web, db") as caught:
        await rig.reader.look(path)
    assert "--machine" in (caught.value.hint or "")
    with pytest.raises(BadInput, match="describes no systems called mail") as caught:
        await rig.reader.look(path, machine="mail")
    assert "there are: web, db" in str(caught.value)


@pytest.mark.parametrize(("machine", "name", "content"), [("db", "db", OTHER), ("vm0", "web", CONTENT)])
async def test_of_several_the_one_that_is_named_comes_with_its_disks(
    rig: Rig, tmp_path: Path, machine: str, name: str, content: bytes
) -> None:
    """By its name or its ID, out of one file."""
    path = rig.write(tar(two(tmp_path).items()), "shop.ova")
    found = await rig.reader.look(path, machine=machine)
    assert (found.appliance.name, len(found.appliance.disks)) == (name, 1)
    assert found.appliance.signed
    assert any(each.startswith("the system ") for each in found.appliance.lost)
    await rig.reader.check(found.package, lambda share: None)
    assert await rig.poured(found) == content


async def test_out_of_a_directory_only_its_own_files_are_needed(rig: Rig, tmp_path: Path) -> None:
    for name, data in two(tmp_path).items():
        rig.write(data, name)
    Path(tmp_path, "web.vmdk").unlink()
    found = await rig.reader.look(str(tmp_path / "shop.ovf"), machine="db")
    await rig.reader.check(found.package, lambda share: None)
    assert await rig.poured(found) == OTHER
    with pytest.raises(NotFound, match=r"web\.vmdk"):
        await rig.reader.look(str(tmp_path / "shop.ovf"), machine="web")


async def test_where_there_is_one_machine_none_is_named(rig: Rig) -> None:
    with pytest.raises(BadInput, match="one machine"):
        await rig.look(xva({"Ref:7": CONTENT}, new=True), "shop.xva")
        await rig.reader.look(str(rig.folder / "shop.xva"), machine="shop")
