"""``agent`` and ``set-time``, on a host in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost

from wirt.hypervisors.fake import FakeGuest, Refuse, Silence, Verb
from wirt.model.errors import HypervisorError, IllegalState, Unavailable
from wirt.operations import agent, power


@pytest.fixture
async def host(tmp_path: Path) -> SimulatedHost:
    host = SimulatedHost(tmp_path)
    await host.boot()
    return host


def guest(host: SimulatedHost) -> FakeGuest:
    return host.world.guest(host.environment.domains.find("web").uuid)


async def test_what_an_agent_tells_is_answered(host: SimulatedHost) -> None:
    await host.create()
    asked = await agent.ask(host.environment, "web")
    assert asked.info is not None
    assert asked.info.system == "a fake guest"


async def test_that_none_answers_is_an_answer_and_says_why(host: SimulatedHost) -> None:
    await host.create()
    guest(host).agent = None
    asked = await agent.ask(host.environment, "web")
    assert asked.info is None
    assert "no guest agent runs in web" in asked.why
    with pytest.raises(Unavailable):
        await agent.set_time(host.environment, "web")


async def test_one_that_stays_silent_is_told_of(host: SimulatedHost) -> None:
    await host.create()
    host.world.fail(Verb.AGENT, Silence())
    asked = await agent.ask(host.environment, "web")
    assert asked.info is None
    assert "did not answer" in asked.why


async def test_one_that_refuses_is_an_error(host: SimulatedHost) -> None:
    await host.create()
    host.world.fail(Verb.AGENT, Refuse("no"))
    with pytest.raises(HypervisorError, match="no"):
        await agent.ask(host.environment, "web")


async def test_a_guest_gets_the_hosts_time(host: SimulatedHost) -> None:
    await host.create()
    set_to = await agent.set_time(host.environment, "web")
    its = guest(host).agent
    assert its is not None
    assert its.time_s == set_to == host.clock.now()


async def test_a_guest_that_does_not_run_is_not_asked(host: SimulatedHost) -> None:
    await host.create(paused=True)
    with pytest.raises(IllegalState, match="web is paused"):
        await agent.ask(host.environment, "web")
    await power.unpause(host.environment, "web")
    await host.settle()
    await agent.ask(host.environment, "web")
    await power.pause(host.environment, "web")
    await host.settle()
    with pytest.raises(IllegalState) as caught:
        await agent.set_time(host.environment, "web")
    assert caught.value.hint == "wirt unpause web"


async def test_a_daemon_that_dies_leaves_no_guest_frozen(host: SimulatedHost) -> None:
    await host.create()
    its = guest(host).agent
    assert its is not None
    domain = host.environment.domains.find("web")
    await host.environment.hypervisor.agents.freeze(domain.uuid)
    assert its.frozen
    await host.crash()
    await host.boot()
    assert not its.frozen
