"""QEMU takes the descriptor, and its cards' frames come out of the bridge as they should."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from wirt.network import HostNetwork
from wirt.ports.network import Plugged

from .frames import received
from .worlds import card, devices

pytestmark = [pytest.mark.root, pytest.mark.real]

QEMU = "qemu-system-x86_64"
GUEST, PEER = "00:16:3e:00:00:01", "00:16:3e:00:00:02"


@asynccontextmanager
async def guest(plugged: Plugged, device: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A guest without a disk, whose card's own boot code asks for an address by DHCP, again and again."""
    if shutil.which(QEMU) is None:
        pytest.skip(f"needs {QEMU}: make setup")
    assert plugged.descriptor is not None
    process = await asyncio.create_subprocess_exec(
        QEMU,
        *("-M", "q35", "-accel", "tcg,tb-size=16", "-m", "64", "-nodefaults", "-display", "none", "-boot", "n"),
        *("-netdev", f"tap,id=n,fd={plugged.descriptor}"),
        *("-device", f"{device},netdev=n,mac={plugged.nic.mac}"),
        pass_fds=[plugged.descriptor],
    )
    os.close(plugged.descriptor)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("device", ["virtio-net-pci", "e1000"])
async def test_a_guests_frames_reach_the_other_cards_of_its_bridge(network: HostNetwork, device: str) -> None:
    plugged = await network.plug(card("vif1.0", mac=GUEST))
    peer = await network.plug(card("vif2.0", mac=PEER))
    assert peer.descriptor is not None

    async with guest(plugged, device):
        frames = await asyncio.to_thread(received, peer.descriptor, 20, bytes.fromhex("63825363"))  # RFC 2131

    assert frames, "the guest sent nothing within 20 s"
    source = bytes.fromhex(GUEST.replace(":", ""))
    assert frames[-1].startswith(b"\xff" * 6 + source + b"\x08\x00")
    assert "vif1.0" not in devices(), "the tap outlived its QEMU"
    await network.unplug(peer)
