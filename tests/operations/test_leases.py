"""The addresses that DHCP gave to guests are told with their cards, without a word from the guests."""

from __future__ import annotations

from pathlib import Path

from tests.operations.kit import SimulatedHost

from wirt.api import convert
from wirt.api.leases import with_leases
from wirt.model.network import Lease
from wirt.operations import network
from wirt.operations.create import Source, define
from wirt.plan.networks_wishes import Wish

MAC, OTHER = "00:16:3e:00:00:01", "00:16:3e:00:00:02"


async def test_a_card_has_the_addresses_that_were_given_to_it_and_have_not_run_out(tmp_path: Path) -> None:
    host = SimulatedHost(tmp_path)
    await host.boot()
    job = await network.create(host.environment, Wish("lan", address="10.5.0.1/24"))
    await host.engine.wait(job.id)
    host.network.bridges.add("br-lan")
    made = await host.create(f'vif = ["mac={MAC},network=lan", "mac={OTHER},network=lan"]')
    assert made.error is None, made.error
    off = Source(f'name = "off"\ntype = "pvh"\nmemory = 96\nkernel = "/k"\nvif = ["mac={MAC}"]\n', "off.cfg", "/")
    await define(host.environment, off)
    now = host.clock.now()
    host.fabric.given["lan"] = (
        Lease(MAC.upper(), "10.5.0.7", "web", now + 60),
        Lease(MAC, "fd00::7", None, None),
        Lease(MAC, "10.5.0.8", "web", now - 1),
        Lease("00:16:3e:00:00:03", "10.5.0.9", None, None),
    )
    web, at_rest = await with_leases(
        host.environment, [convert.domain(host.environment, each) for each in host.environment.domains]
    )
    assert [vif.leases for vif in web.vifs] == [["10.5.0.7", "fd00::7"], []]
    assert [vif.leases for vif in at_rest.vifs] == [[]]
    await host.stop()
