"""Weights of disks: laid on at once and on every later run, and told where nobody looks at them."""

from __future__ import annotations

from pathlib import Path

import pytest

from wirt.model.errors import BadInput, Unavailable
from wirt.operations import qos_verbs
from wirt.operations.destroy import destroy
from wirt.operations.sched_verbs import set_disk_weight
from wirt.operations.scheduling import lay, notes, remarks
from wirt.ports.shares import DiskWeights

from .kit import SimulatedHost
from .scheduling_kit import host, started

__all__ = ["host"]


def weight(host: SimulatedHost, name: str = "web") -> int:
    domid = host.environment.domains.find(name).domid
    assert domid is not None
    return host.world.disk_weights[host.environment.directory(domid)]


async def test_a_weight_holds_at_once_and_is_kept(host: SimulatedHost) -> None:
    await started(host)
    assert weight(host) == 100
    assert (await set_disk_weight(host.environment, "web", 300)).config.disk_weight == 300
    assert weight(host) == 300
    await host.crash()
    host.world.disk_weights.clear()
    await host.boot()
    await lay(host.environment)
    assert weight(host) == 300
    assert (await set_disk_weight(host.environment, "web", None)).config.disk_weight is None
    assert weight(host) == 100


async def test_a_class_has_one_too_and_the_domains_own_comes_first(host: SimulatedHost) -> None:
    await host.engine.wait((await qos_verbs.define(host.environment, "gold", {"disk-weight": "500"})).id)
    await started(host, more='qos = "gold"')
    await started(host, "db", more='qos = "gold"\ndisk_weight = 7')
    assert (weight(host), weight(host, "db")) == (500, 7)
    await host.engine.wait((await qos_verbs.change(host.environment, "gold", {"disk-weight": "50"})).id)
    assert (weight(host), weight(host, "db")) == (50, 7)
    await host.engine.wait((await destroy(host.environment, "db")).id)


@pytest.mark.parametrize("wrong", [0, 1001, -5])
async def test_what_can_not_be_is_refused_with_what_can(host: SimulatedHost, wrong: int) -> None:
    await started(host)
    with pytest.raises(BadInput) as error:
        await set_disk_weight(host.environment, "web", wrong)
    assert "1 to 1000" in str(error.value)


async def test_a_host_that_weighs_no_disks_keeps_it_and_says_so(host: SimulatedHost) -> None:
    host.shares.weighs = DiskWeights(False, False, "no control group here weighs disks")
    domain = await started(host)
    assert remarks(host.environment, domain) == ()
    assert "no control group here weighs disks" in notes(host.environment)
    domain = await set_disk_weight(host.environment, "web", 300)
    (said,) = remarks(host.environment, domain)
    assert said == "its disk weight of 300 counts for nothing now: no control group here weighs disks"
    host.shares.weighs = DiskWeights(True, True, "weights of disks count on sda")
    (said,) = remarks(host.environment, domain)
    assert "from its next start" in said
    await lay(host.environment)
    assert remarks(host.environment, domain) == () and weight(host) == 300


async def test_a_host_that_refuses_leaves_the_record_as_it_was(host: SimulatedHost, tmp_path: Path) -> None:
    await started(host)
    host.shares.refuses = "read-only"
    with pytest.raises(Unavailable):
        await set_disk_weight(host.environment, "web", 300)
    assert host.environment.domains.find("web").config.disk_weight is None
