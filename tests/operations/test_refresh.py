"""A guest goes on in a new run on the same host, or in the old one, whatever happens; never in both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost, Strike, crash, fail

from wirt.hypervisors.fake.faults import Die, Fault, Refuse, Silence, Verb
from wirt.model.errors import IllegalState
from wirt.model.job import Job, JobState
from wirt.model.lifecycle import State
from wirt.model.storage import VolumeRef
from wirt.operations import vif
from wirt.operations.conclude import wait_ended
from wirt.operations.destroy import destroy
from wirt.operations.jobs.step import JobKind
from wirt.operations.power import pause, unpause
from wirt.operations.refresh import REFRESH, outdated, refresh
from wirt.operations.volumes import create as create_volume

THOUGHT = b"what it thinks of"
STEPS = [step.name for step in REFRESH.steps]


async def a_guest(directory: Path, more: str = "", *, paused: bool = False) -> SimulatedHost:
    host = SimulatedHost(directory)
    await host.boot()
    await host.engine.wait((await create_volume(host.environment, VolumeRef("default", "web"), 1 << 20)).id)
    await host.create(f'disk = ["default/web,,xvda,rw"]\n{more}', paused=paused)
    guest = host.world.guest(host.environment.domains.find("web").uuid)
    guest.memory = THOUGHT
    return host


async def begin(host: SimulatedHost) -> str:
    return (await refresh(host.environment, "web")).id


async def until(host: SimulatedHost, reached: Callable[[], bool]) -> None:
    for _ in range(500):
        if reached():
            return
        await host.clock.advance(0.01)
        await asyncio.sleep(0)
    raise AssertionError("never")


async def done(host: SimulatedHost) -> Job:
    job = await begin(host)
    await until(host, lambda: host.engine.get(job).state.finished)
    return host.engine.get(job)


async def is_whole(host: SimulatedHost, state: State = State.RUNNING) -> int:
    """The run's number. One runs, as it is recorded, with what it had in mind, its disk and its cards."""
    await host.settle()
    await host.clock.advance(5)
    await host.settle()
    await host.assert_consistent()
    domain = host.environment.domains.find("web")
    (guest,) = [guest for guest in host.world.guests() if not guest.gone]
    assert (guest.domain, guest.domid, domain.state) == (domain.uuid, domain.domid, state)
    assert guest.observed.state is state and guest.memory == THOUGHT
    return guest.number


async def test_it_goes_on_in_a_new_run_with_all_that_it_had(tmp_path: Path) -> None:
    host = await a_guest(tmp_path)
    before = host.environment.domains.find("web")
    number = await is_whole(host)
    job = await done(host)
    assert job.state is JobState.DONE, job.error
    assert await is_whole(host) == number + 1
    after = host.environment.domains.find("web")
    assert before.incarnation is not None and after.incarnation is not None
    assert after.domid == job.notes["domid"] != before.domid
    assert after.incarnation.started_at == before.incarnation.started_at, "the guest has not started anew"
    assert after.incarnation.notes["tap.0"] != before.incarnation.notes["tap.0"]
    assert job.notes["result"]["gap_s"] is not None
    await host.stop()


async def test_a_paused_guest_stays_paused(tmp_path: Path) -> None:
    host = await a_guest(tmp_path)
    await pause(host.environment, "web")
    await host.settle()
    assert (await done(host)).state is JobState.DONE
    await is_whole(host, State.PAUSED)
    await unpause(host.environment, "web")
    await is_whole(host)
    await host.stop()


async def test_a_cable_that_is_out_stays_out(tmp_path: Path) -> None:
    host = await a_guest(tmp_path)
    await host.engine.wait((await vif.set_link(host.environment, "web", "0", up=False)).id)
    assert (await done(host)).state is JobState.DONE
    await is_whole(host)
    assert host.world.guest(host.environment.domains.find("web").uuid).links == {0: False}
    await host.stop()


async def test_who_follows_the_console_sees_all_of_it_once(tmp_path: Path) -> None:
    host = await a_guest(tmp_path)
    uuid = host.environment.domains.find("web").uuid
    seen = bytearray()

    async def follow() -> None:
        async for chunk in host.environment.hypervisor.console(uuid).follow(0):
            assert chunk.offset == len(seen)
            seen.extend(chunk.data)

    following = asyncio.create_task(follow())
    host.world.guest(uuid).print(b"before ")
    assert (await done(host)).state is JobState.DONE
    host.world.guest(uuid).print(b"after")
    await host.settle()
    assert bytes(seen).endswith(b"before after")
    assert host.environment.hypervisor.console(uuid).read(0).data == bytes(seen)
    await destroy(host.environment, "web")
    await host.settle()
    assert following.done(), "it ends with the guest"
    await host.stop()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", [fail, crash], ids=["fail", "crash"])
@pytest.mark.parametrize("step", STEPS)
async def test_trouble_in_each_step(tmp_path: Path, step: str, what: Callable[[Job], None], when: str) -> None:
    host = await a_guest(tmp_path)
    number = await is_whole(host)
    strike = Strike(JobKind.REFRESH, step, when, what)
    await host.crash()
    await host.boot(strike)
    job = await begin(host)
    await until(host, lambda: strike.struck)
    if what is crash:
        await host.crash()
        await host.boot()
    else:
        await until(host, lambda: host.engine.get(job).state.finished)
    # The record is written in the hand-over: from there on it is the new one.
    handed_over = STEPS.index(step) + (when == "after") > STEPS.index("hand-over")
    assert await is_whole(host) == (number + 1 if handed_over else number)
    assert (await done(host)).state is JobState.DONE
    await is_whole(host)
    await host.stop()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_refresh_that_is_cancelled_in_each_step(tmp_path: Path, step: str, when: str) -> None:
    host = await a_guest(tmp_path)
    number = await is_whole(host)
    cancelling: list[object] = []

    def cancel(job: Job) -> None:
        cancelling.append(asyncio.ensure_future(host.engine.cancel(job.id)))

    await host.crash()
    await host.boot(Strike(JobKind.REFRESH, step, when, cancel))
    job = await begin(host)
    await until(host, lambda: bool(cancelling) and host.engine.get(job).state.finished)
    assert await is_whole(host) in (number, number + 1)
    assert (await done(host)).state is JobState.DONE
    await host.stop()


@pytest.mark.parametrize(
    ("verb", "fault", "moves"),
    [
        (Verb.LAUNCH, Refuse(), False),
        (Verb.LAUNCH, Die(), False),
        (Verb.SEND, Refuse(), False),
        (Verb.RECEIVE, Die(), False),
        (Verb.FINISH, Refuse(), False),
        (Verb.FINISH, Silence(0.1), False),
        (Verb.RESUME, Silence(0.1, done=True), True),
        (Verb.DESTROY, Silence(0.1), True),
    ],
)
async def test_a_hypervisor_that_fails(tmp_path: Path, verb: Verb, fault: Fault, moves: bool) -> None:
    host = await a_guest(tmp_path)
    number = await is_whole(host)
    host.world.fail(verb, fault)
    assert (await done(host)).state is JobState.FAILED
    assert await is_whole(host) == number + moves
    await host.stop()


@pytest.mark.parametrize("victim", ["old", "new"])
@pytest.mark.parametrize("step", ["launch", "copy", "hand-over"])
async def test_a_process_that_dies_between_two_steps(tmp_path: Path, step: str, victim: str) -> None:
    """Of the old one's death what follows is as ever: ``on_crash``, here a new start."""
    host = await a_guest(tmp_path, 'on_crash = "restart"')
    number = await is_whole(host)

    def kill(job: Job) -> None:
        mine = {guest.number: guest for guest in host.world.guests()}
        (mine[number] if victim == "old" else mine[number + 1]).vanish()

    strike = Strike(JobKind.REFRESH, step, "after", kill)
    await host.crash()
    await host.boot(strike)
    job = await begin(host)
    await until(host, lambda: host.engine.get(job).state.finished)
    await host.settle()
    await host.clock.advance(5)
    await host.settle()
    await host.assert_consistent()
    (guest,) = [guest for guest in host.world.guests() if not guest.gone]
    dead = (step == "hand-over") == (victim == "new")
    if dead:
        assert guest.number == number + 2 and guest.memory == b"", "the guest's own run died, and it starts anew"
    else:
        assert guest.memory == THOUGHT
    await host.stop()


async def test_what_is_asked_of_the_guest_meanwhile_waits_for_the_new_run(tmp_path: Path) -> None:
    host = await a_guest(tmp_path)
    job = await begin(host)
    await host.clock.advance(0.01)
    pausing = asyncio.create_task(pause(host.environment, "web"))
    await until(host, lambda: host.engine.get(job).state.finished)
    await pausing
    assert host.engine.get(job).state is JobState.DONE
    await is_whole(host, State.PAUSED)
    await host.stop()


async def test_who_waits_for_its_end_waits_on(tmp_path: Path) -> None:
    host = await a_guest(tmp_path)
    ended = asyncio.create_task(wait_ended(host.environment, "web", 600))
    assert (await done(host)).state is JobState.DONE
    await is_whole(host)
    assert not ended.done()
    host.world.guest(host.environment.domains.find("web").uuid).power_off()
    await host.settle()
    assert ended.done()
    await host.stop()


async def test_who_runs_on_an_older_program_is_told_until_it_is_refreshed(tmp_path: Path) -> None:
    host = await a_guest(tmp_path)
    assert not outdated(host.environment, host.environment.domains.find("web"))
    host.world.facts = replace(host.world.facts, version=(2, 0, 0))
    assert outdated(host.environment, host.environment.domains.find("web"))
    assert (await done(host)).notes["result"]["version"] == "2.0.0"
    assert not outdated(host.environment, host.environment.domains.find("web"))
    await host.stop()


async def test_what_can_not_be_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    host = await a_guest(tmp_path)
    await host.create('vif = ["vifname=mine"]', name="named")
    with pytest.raises(IllegalState, match="a name of its own"):
        await refresh(host.environment, "named")
    await host.create('on_crash = "preserve"', name="crashed")
    host.world.guest(host.environment.domains.find("crashed").uuid).panic()
    await host.settle()
    with pytest.raises(IllegalState, match="crashed is crashed"):
        await refresh(host.environment, "crashed")
    await host.stop()
