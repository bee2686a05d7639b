"""Weights of networks: of guests that run, in networks whose way out is shared, and told where they count for
nothing."""

from __future__ import annotations

import pytest

from wirt.model.errors import BadInput
from wirt.model.job import JobState
from wirt.operations import network, qos_verbs
from wirt.operations.destroy import destroy
from wirt.operations.networks_upkeep import notes, planned, wanted, weight_remarks
from wirt.operations.reconcile.network import NetworkLoop
from wirt.operations.sched_verbs import set_network_weight
from wirt.plan.networks_wishes import Wish

from .kit import SimulatedHost
from .scheduling_kit import host, started

__all__ = ["host"]

CARD = 'vif = ["network=lan"]'


async def lan(host: SimulatedHost) -> None:
    job = await network.create(host.environment, Wish("lan", share="1Gb/s"))
    assert (await host.engine.wait(job.id)).state is JobState.DONE
    host.network.bridges.add("br-lan")


def weights(host: SimulatedHost) -> list[int]:
    return sorted(share.weight for share in wanted(host.environment).shares["lan"])


async def in_force(host: SimulatedHost) -> bool:
    """After the networks' loop has looked, nothing is left to do."""
    await NetworkLoop(host.environment).look()
    return (await planned(host.environment)).actions == () and "br-lan" in host.fabric.state.sharing


async def test_guests_that_run_share_by_what_they_and_their_classes_say(host: SimulatedHost) -> None:
    await lan(host)
    await host.engine.wait((await qos_verbs.define(host.environment, "gold", {"network-weight": "500"})).id)
    await started(host, more=CARD)
    await started(host, "db", more=CARD + '\nqos = "gold"')
    await started(host, "mail", more=CARD + '\nqos = "gold"\nnetwork_weight = 7')
    assert weights(host) == [7, 100, 500] and await in_force(host)
    await host.engine.wait((await qos_verbs.change(host.environment, "gold", {"network-weight": "50"})).id)
    await set_network_weight(host.environment, "web", 300)
    assert weights(host) == [7, 50, 300] and await in_force(host)
    before = dict(host.fabric.state.sharing)
    await host.engine.wait((await destroy(host.environment, "db")).id)
    assert weights(host) == [7, 300] and await in_force(host)
    assert host.fabric.state.sharing != before
    await host.crash()
    await host.boot()
    assert weights(host) == [7, 300] and await in_force(host)


async def test_where_it_counts_for_nothing_that_is_told(host: SimulatedHost) -> None:
    domain = await started(host, more='vif = [""]')
    assert weight_remarks(host.environment, domain) == ()
    domain = await set_network_weight(host.environment, "web", 300)
    assert "no network's way out is shared" in notes(host.environment)[0]
    (said,) = weight_remarks(host.environment, domain)
    assert "--share" in said and said in qos_verbs.terms(host.environment, "web").remarks
    await lan(host)
    assert weight_remarks(host.environment, await started(host, "db", more=CARD + "\nnetwork_weight = 5")) == ()
    assert notes(host.environment) == ["network weights count on lan; on lan only for what guests are sent"]
    with pytest.raises(BadInput) as error:
        await set_network_weight(host.environment, "web", 1001)
    assert "1 to 1000" in str(error.value)


async def test_a_network_that_goes_takes_its_sharing_along(host: SimulatedHost) -> None:
    await lan(host)
    assert await in_force(host)
    await host.engine.wait((await network.destroy(host.environment, "lan")).id)
    await host.settle()
    assert host.fabric.state.sharing == {}
