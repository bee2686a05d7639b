"""Weights, caps and budgets reach runs, stay in the record, and go back if the host refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wirt.model.errors import BadInput, IllegalState, Unavailable
from wirt.operations.create import Source, preview
from wirt.operations.sched_verbs import set_credit, set_real_time
from wirt.operations.scheduling import lay, remarks
from wirt.plan.shares import Quota
from wirt.ports.shares import Mechanism, RunShares

from .kit import SimulatedHost, config
from .scheduling_kit import host, started

__all__ = ["host"]


def shares(host: SimulatedHost, name: str = "web") -> RunShares:
    domain = host.environment.domains.named(name)
    assert domain is not None and domain.domid is not None
    return host.world.shares[host.environment.directory(domain.domid)]


async def test_a_guest_is_held_to_its_terms_before_its_first_instruction(host: SimulatedHost) -> None:
    await started(host, more="cpu_weight = 512\ncap = 50")
    assert shares(host) == RunShares(512, 200, 0, Quota(50_000, 100_000), None)


async def test_all_weights_of_a_host_are_scaled_by_one_factor(host: SimulatedHost) -> None:
    await started(host, "web", "cpu_weight = 65535")
    await started(host, "mail", "cpu_weight = 256")
    heavy, light = shares(host, "web").scaled, shares(host, "mail").scaled
    assert heavy <= 10_000 and heavy / light == pytest.approx(65535 / 256, rel=0.02)


async def test_what_is_changed_runs_at_once_and_is_kept_in_the_record(host: SimulatedHost) -> None:
    domain = await started(host)
    await set_credit(host.environment, "web", weight=1024)
    await set_credit(host.environment, "web", cap=25)
    assert (shares(host).weight, shares(host).quota) == (1024, Quota(25_000, 100_000))
    await host.crash()
    host.world.shares.clear()
    await host.boot()
    await lay(host.environment)
    kept = host.environment.domains.find(str(domain.uuid))
    assert (kept.config.cpu_weight, kept.config.cap) == (1024, 25)
    assert (shares(host).weight, shares(host).quota) == (1024, Quota(25_000, 100_000))


async def test_a_cap_is_taken_away_by_0(host: SimulatedHost) -> None:
    await started(host, more="cap = 50")
    await set_credit(host.environment, "web", cap=0)
    assert shares(host).quota is None


@pytest.mark.parametrize(("weight", "cap", "words"), [(0, None, "1 to 65535"), (None, 101, "1 to 100")])
async def test_what_can_not_be_is_refused_with_the_range(
    host: SimulatedHost, weight: int | None, cap: int | None, words: str
) -> None:
    domain = await started(host)
    with pytest.raises(BadInput) as caught:
        await set_credit(host.environment, "web", weight, cap)
    assert words in str(caught.value)
    assert host.environment.domains.find("web").text == domain.text


async def test_a_cap_of_more_than_a_domain_has_is_refused_before_there_is_a_job(host: SimulatedHost) -> None:
    with pytest.raises(BadInput, match="1 to 100"):
        await preview(host.environment, Source(config("web", "cap = 101"), "web.cfg", "/"))


async def test_a_host_that_refuses_leaves_the_record_as_it_was(host: SimulatedHost) -> None:
    domain = await started(host)
    host.shares.refuses = "read-only file system"
    with pytest.raises(Unavailable, match="read-only"):
        await set_credit(host.environment, "web", weight=512)
    assert host.environment.domains.find("web").text == domain.text


async def test_a_guest_starts_on_a_host_that_refuses_and_is_told_of(host: SimulatedHost) -> None:
    host.shares.refuses = "read-only file system"
    domain = await started(host, more="cap = 50")
    assert any("read-only" in words for words in remarks(host.environment, domain))
    host.shares.refuses = None
    await lay(host.environment)
    assert remarks(host.environment, domain) == () and shares(host).quota is not None


async def test_a_budget_is_each_vcpus_and_says_what_it_can_not_promise(host: SimulatedHost) -> None:
    await started(host)
    domain = await set_real_time(host.environment, "web", 20_000, 5_000)
    assert shares(host).each == Quota(5_000, 20_000)
    assert any("no deadline" in words for words in remarks(host.environment, domain))
    await set_real_time(host.environment, "web", budget_us=0)
    assert shares(host).each is None


async def test_budgets_that_the_host_has_not_got_are_refused(host: SimulatedHost) -> None:
    for name in ("web", "mail"):
        await started(host, name, "vcpus = 3")
    await set_real_time(host.environment, "web", 10_000, 10_000)
    with pytest.raises(BadInput, match="can't be kept by 4"):
        await set_real_time(host.environment, "mail", 10_000, 5_000)
    await set_real_time(host.environment, "mail", 10_000, 3_000)


async def test_domain_0_and_a_guest_on_its_way_are_refused(host: SimulatedHost) -> None:
    with pytest.raises(BadInput, match="Domain-0"):
        await set_credit(host.environment, "Domain-0", weight=512)
    domain = await started(host)
    assert domain.incarnation is not None
    moving = replace(domain.incarnation, notes={**domain.incarnation.notes, "moving": "host2 h1 ssh://host2"})
    await host.environment.domains.start_run(moving)
    with pytest.raises(IllegalState, match="on its way"):
        await set_credit(host.environment, "web", weight=512)


async def test_without_control_groups_it_is_said_what_can_not_hold(host: SimulatedHost) -> None:
    domain = await started(host, more="cap = 50\nbudget = 1000")
    host.environment.scheduling.mechanisms[domain.uuid] = Mechanism.NICE
    words = " ".join(remarks(host.environment, domain))
    assert "needs a control group" in words and "12 %" in words
