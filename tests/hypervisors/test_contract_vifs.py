"""Cards that come and go while the guest runs, and cables that are pulled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wirt.model.devices import VifKind, VifSpec
from wirt.model.errors import IllegalState, NotFound, Shortage
from wirt.model.lifecycle import State
from wirt.plan.launch import plan_card
from wirt.ports.hypervisor import Observed
from wirt.ports.network import Plugged

from .conftest import FAKE, OLD, QEMU
from .rigs import HOST, Rig, Started, ready

every_driver = pytest.mark.parametrize("rig", [FAKE, QEMU, OLD], indirect=True)


def card(started: Started, devid: int = 3, *, model: str | None = None) -> Plugged:
    """What is plugged in nowhere, to be attached to a run."""
    vif = VifSpec(kind=VifKind.NONE, devid=devid, model=model)
    config = replace(started.config, vifs=(*started.config.vifs, vif))
    nic = plan_card(config, started.domain, started.incarnation.domid, HOST, devid)
    return Plugged(nic, nic.kind)


@every_driver
async def test_a_running_guest_gets_a_card_and_lets_go_of_it(rig: Rig) -> None:
    started = await rig.start(rig.config())
    domain, hypervisor = started.domain, rig.hypervisor
    own = hypervisor.vifs(domain)
    assert own is not None
    await hypervisor.resume(domain)
    await ready(rig, domain)
    await hypervisor.attach_vif(domain, card(started))
    assert hypervisor.vifs(domain) == own | {3}
    with pytest.raises(IllegalState, match="vif 3 already"):
        await hypervisor.attach_vif(domain, card(started))
    await hypervisor.detach_vif(domain, 3)
    assert hypervisor.vifs(domain) == own
    await hypervisor.detach_vif(domain, 3)
    await hypervisor.attach_vif(domain, card(started))
    assert hypervisor.vifs(domain) == own | {3}


async def test_a_card_that_came_while_the_guest_ran_is_known_to_the_next_daemon(rig: Rig) -> None:
    started = await rig.start(rig.config())
    domain = started.domain
    own = rig.hypervisor.vifs(domain)
    assert own is not None
    await rig.hypervisor.attach_vif(domain, card(started))
    await rig.lose_daemon()
    assert rig.hypervisor.vifs(domain) is None
    assert await rig.hypervisor.adopt(started.incarnation, started.directory) == Observed(State.PAUSED)
    assert rig.hypervisor.vifs(domain) == own | {3}
    await rig.hypervisor.set_link(domain, 3, up=False)
    await rig.hypervisor.destroy(domain)
    assert rig.hypervisor.vifs(domain) is None


async def test_a_guest_that_is_paused_gets_cards_and_gives_none_back(rig: Rig) -> None:
    started = await rig.start(rig.config())
    domain, hypervisor = started.domain, rig.hypervisor
    await hypervisor.attach_vif(domain, card(started))
    with pytest.raises(IllegalState, match="only a guest that runs"):
        await hypervisor.detach_vif(domain, 3)
    assert 3 in (hypervisor.vifs(domain) or ())


async def test_every_place_can_be_taken_and_there_is_none_beyond(rig: Rig) -> None:
    started = await rig.start(replace(rig.config(), vifs=()))
    domain, hypervisor = started.domain, rig.hypervisor
    for devid in range(8):
        await hypervisor.attach_vif(domain, card(started, devid))
    with pytest.raises(Shortage, match="no place"):
        await hypervisor.attach_vif(domain, card(started, 8))
    assert hypervisor.vifs(domain) == frozenset(range(8))


async def test_a_cable_is_pulled_only_out_of_a_card_that_is_there(rig: Rig) -> None:
    started = await rig.start(rig.config())
    await rig.hypervisor.attach_vif(started.domain, card(started))
    for up in (False, False, True):
        await rig.hypervisor.set_link(started.domain, 3, up=up)
    with pytest.raises(NotFound, match="no vif 4"):
        await rig.hypervisor.set_link(started.domain, 4, up=False)


async def test_nothing_is_attached_to_a_run_that_is_gone(rig: Rig) -> None:
    started = await rig.start(rig.config())
    await rig.hypervisor.destroy(started.domain)
    with pytest.raises(IllegalState):
        await rig.hypervisor.attach_vif(started.domain, card(started))
    with pytest.raises(IllegalState):
        await rig.hypervisor.detach_vif(started.domain, 0)
    with pytest.raises(IllegalState):
        await rig.hypervisor.set_link(started.domain, 0, up=True)
