"""Pools of CPUs: whose they are, who runs on them, and what is refused so that nobody is left without one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from wirt.model.errors import BadInput, IllegalState, NameInUse, NotFound, ResourceBusy, WirtError
from wirt.operations import cpu_pools_verbs as verbs
from wirt.operations.create import Source, preview
from wirt.operations.environment import Environment
from wirt.operations.scheduling import lay, remarks

from .kit import SimulatedHost, config
from .scheduling_kit import host, started

__all__ = ["host"]


async def place(host: SimulatedHost, name: str = "web") -> set[int]:
    threads = await host.threads.of(host.environment.domains.find(name).uuid)
    return set(host.threads.affinity(threads[0]) or ())


def seen(host: SimulatedHost) -> dict[str, set[int]]:
    return {use.name: set(use.cpus) for use in verbs.look(host.environment)}


async def test_a_pool_has_its_cpus_and_its_domains_alone(host: SimulatedHost) -> None:
    await started(host)
    await verbs.create(host.environment, 'name = "fast"\ncpus = ["2", "3"]\n', ())
    await started(host, "mail", 'pool = "fast"')
    assert (await place(host), await place(host, "mail")) == ({0, 1}, {2, 3})
    assert seen(host) == {"Pool-0": {0, 1}, "fast": {2, 3}}


async def test_a_domain_that_runs_goes_to_another_pool_and_back(host: SimulatedHost) -> None:
    domain = await started(host)
    await verbs.create(host.environment, "", ("name=fast", "nodes=1", "sched=credit"))
    await verbs.migrate(host.environment, "web", "fast")
    assert await place(host) == {2, 3}
    await verbs.remove_cpus(host.environment, "fast", "2")
    assert await place(host) == {3}
    await verbs.add_cpus(host.environment, "fast", "1-2")
    assert await place(host) == {1, 2, 3}
    after = await verbs.migrate(host.environment, "web", "Pool-0")
    assert await place(host) == {0} and after.text == domain.text
    await verbs.destroy(host.environment, "fast")
    assert await place(host) == {0, 1, 2, 3}


async def test_a_new_daemon_knows_the_pools(host: SimulatedHost) -> None:
    await verbs.create(host.environment, "", ("name=fast", "cpus=2-3"))
    await started(host, more='pool = "fast"')
    await host.crash()
    host.world.affinity.clear()
    await host.boot()
    await lay(host.environment)
    assert await place(host) == {2, 3} and seen(host)["fast"] == {2, 3}


Try = Callable[[Environment], Coroutine[Any, Any, object]]


@pytest.mark.parametrize(
    ("act", "kind", "words"),
    [
        (lambda e: verbs.create(e, "", ("name=fast", "cpus=1")), NameInUse, "already"),
        (lambda e: verbs.create(e, "", ("name=Pool-0", "cpus=1")), NameInUse, "already"),
        (lambda e: verbs.create(e, "", ("name=a/b", "cpus=1")), BadInput, "name"),
        (lambda e: verbs.create(e, "", ("name=slow",)), BadInput, "which CPUs"),
        (lambda e: verbs.create(e, "", ("name=slow", "cpus=9")), BadInput, "CPUs 0-3"),
        (lambda e: verbs.create(e, "", ("name=slow", "cpus=3")), ResourceBusy, "is in pool fast"),
        (lambda e: verbs.create(e, "", ("name=slow", "cpus=0-1")), ResourceBusy, "no CPU left"),
        (lambda e: verbs.create(e, "", ("name=slow", "cpus=1", "sched=rtds")), BadInput, "credit"),
        (lambda e: verbs.create(e, "", ("name=slow", "colour=1")), BadInput, "colour"),
        (lambda e: verbs.create(e, "", ("name=slow", "cpus=0")), IllegalState, "may run nowhere"),
        (lambda e: verbs.add_cpus(e, "Pool-0", "2"), BadInput, "cpupool-cpu-remove"),
        (lambda e: verbs.remove_cpus(e, "fast", "1"), BadInput, "has not got 1"),
        (lambda e: verbs.remove_cpus(e, "fast", "2-3"), ResourceBusy, "cpupool-destroy"),
        (lambda e: verbs.destroy(e, "fast"), ResourceBusy, "cpupool-migrate mail Pool-0"),
        (lambda e: verbs.destroy(e, "fats"), NotFound, "did you mean fast"),
        (lambda e: verbs.migrate(e, "mail", "slow"), NotFound, "slow"),
        (lambda e: verbs.migrate(e, "web", "fast"), IllegalState, "pool fast has none of them"),
    ],
)
async def test_what_would_leave_somebody_without_a_cpu_is_refused_and_nothing_is_changed(
    host: SimulatedHost, act: Try, kind: type[WirtError], words: str
) -> None:
    await verbs.create(host.environment, "", ("name=fast", "cpus=2-3"))
    await started(host, "web", 'cpus = "0"')
    await started(host, "mail", 'pool = "fast"')
    before = seen(host)
    with pytest.raises(kind) as caught:
        await act(host.environment)
    assert words in str(caught.value)
    assert seen(host) == before


async def test_a_guest_for_a_pool_that_is_not_there_is_refused_before_there_is_a_job(host: SimulatedHost) -> None:
    with pytest.raises(NotFound, match="no CPU pool fast"):
        await preview(host.environment, Source(config("web", 'pool = "fast"'), "web.cfg", "/"))


async def test_a_pool_whose_cpus_are_all_offline_is_told(host: SimulatedHost) -> None:
    await verbs.create(host.environment, "", ("name=fast", "cpus=3"))
    domain = await started(host, more='pool = "fast"')
    host.processors.offline = (3,)
    await lay(host.environment)
    assert "no CPU that is online" in remarks(host.environment, domain)[0]
