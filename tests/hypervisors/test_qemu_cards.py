"""What only a real QEMU can show of cards: a guest that keeps one, a tap handed over, and what failures leave."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

import pytest
from tests.network.namespace import own_namespace
from tests.network.worlds import devices

from wirt.hypervisors.qemu.driver import QemuHypervisor
from wirt.hypervisors.qemu.monitor import Patience
from wirt.model.devices import NicType, PortForward, VifKind, VifSpec
from wirt.model.domain import DomainConfig, GuestType
from wirt.model.errors import DeadlinePassed, HypervisorError
from wirt.network.taps import open_tap
from wirt.plan.launch import plan_card
from wirt.plan.nics import NicPlan
from wirt.ports.hypervisor import ResetKind
from wirt.ports.network import Plugged

from .rigs import HOST, QemuRig, Started, eventually, free_port

pytestmark = pytest.mark.real

NOBODY_THERE = DomainConfig(name="empty", type=GuestType.HVM, memory_mib=64)
"""Its firmware finds nothing to boot, and stands still."""
BRIDGING = replace(HOST, can_bridge=True)


def planned(started: Started, vif: VifSpec) -> NicPlan:
    config = replace(started.config, vifs=(vif,))
    return plan_card(config, started.domain, started.incarnation.domid, BRIDGING, 0)


async def test_a_guest_that_does_not_answer_keeps_its_card_until_it_is_reset(qemu_rig: QemuRig) -> None:
    impatient = replace(qemu_rig.settings, patience=Patience(unplug_s=0.5))
    hypervisor = qemu_rig.hypervisor
    assert isinstance(hypervisor, QemuHypervisor)
    hypervisor._patience = impatient.patience
    started = await qemu_rig.start(NOBODY_THERE)
    await hypervisor.resume(started.domain)
    nic = planned(started, VifSpec(kind=VifKind.NONE, type=NicType.VIF))
    await hypervisor.attach_vif(started.domain, Plugged(nic, nic.kind))
    for _ in range(2):
        with pytest.raises(DeadlinePassed, match="let go of vif 0"):
            await hypervisor.detach_vif(started.domain, 0)
    assert hypervisor.vifs(started.domain) == frozenset({0})
    await hypervisor.reset(started.domain, ResetKind.HARD)
    await eventually(lambda: hypervisor.vifs(started.domain) == frozenset())
    await hypervisor.detach_vif(started.domain, 0)
    await hypervisor.attach_vif(started.domain, Plugged(nic, nic.kind))


@pytest.mark.root
@pytest.mark.parametrize("model", ["virtio", "e1000", "e1000e", "rtl8139", "vmxnet3", "ne2k_pci", "pcnet"])
async def test_every_model_takes_a_tap_that_is_handed_over(qemu_rig: QemuRig, model: str) -> None:
    with own_namespace():
        started = await qemu_rig.start(NOBODY_THERE)
        nic = planned(started, VifSpec(kind=VifKind.BRIDGE, model=model, vifname="handed0"))
        tap = open_tap(nic)
        await qemu_rig.hypervisor.attach_vif(started.domain, Plugged(nic, nic.kind, tap.descriptor, tap.name))
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(tap.descriptor)
        assert "handed0" in devices()
        await qemu_rig.hypervisor.destroy(started.domain)
        await eventually(lambda: "handed0" not in devices())


@pytest.mark.root
async def test_a_card_that_qemu_refuses_leaves_neither_tap_nor_network(qemu_rig: QemuRig) -> None:
    with own_namespace():
        started = await qemu_rig.start(NOBODY_THERE)
        good = planned(started, VifSpec(kind=VifKind.BRIDGE, vifname="handed0"))
        for bad in (replace(good, device="no-such-card"), replace(good, port=31)):
            tap = open_tap(good)
            plugged = Plugged(bad, bad.kind, tap.descriptor, tap.name)
            with pytest.raises(HypervisorError):
                await qemu_rig.hypervisor.attach_vif(started.domain, plugged)
            assert qemu_rig.hypervisor.vifs(started.domain) == frozenset()
            await eventually(lambda: "handed0" not in devices())
        tap = open_tap(good)
        await qemu_rig.hypervisor.attach_vif(started.domain, Plugged(good, good.kind, tap.descriptor, tap.name))


async def test_a_user_mode_card_comes_with_its_forwards(qemu_rig: QemuRig) -> None:
    started = await qemu_rig.start(qemu_rig.config())
    vif = VifSpec(kind=VifKind.USER, devid=1, ip=("10.9.8.7/24",), forwards=(PortForward("tcp", 7, 0),))
    config = replace(started.config, vifs=(*started.config.vifs, vif))
    nic = plan_card(config, started.domain, 1, HOST, 1)
    forward = replace(nic.forwards[0], host_port=free_port())
    await qemu_rig.hypervisor.attach_vif(started.domain, Plugged(nic, nic.kind, forwards=(forward,)))
    with socket.create_connection(("127.0.0.1", forward.host_port), timeout=30):
        pass
