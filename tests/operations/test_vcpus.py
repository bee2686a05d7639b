"""``wirt vcpu-set``: what a guest has at once, what it keeps wherever it goes on, what is refused and why."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from wirt.api.convert import vcpu as shown
from wirt.hypervisors.fake import FakeGuest
from wirt.hypervisors.fake.faults import Refuse, Silence, Verb
from wirt.model.domain import Domain
from wirt.model.errors import BadInput, HypervisorError, IllegalState, Unavailable
from wirt.model.job import Job, JobState
from wirt.model.lifecycle import State
from wirt.model.storage import VolumeRef
from wirt.model.units import MIB
from wirt.operations import power, snapshots_verbs, volumes
from wirt.operations.create import Source, define
from wirt.operations.destroy import destroy
from wirt.operations.fork import ForkWish, fork
from wirt.operations.jobs.step import JobKind
from wirt.operations.migrate import MoveWish, migrate, plan_move
from wirt.operations.refresh import refresh
from wirt.operations.save import SaveWish, save
from wirt.operations.save_restore import RestoreWish, restore
from wirt.operations.scheduling import lay
from wirt.operations.start import start
from wirt.operations.vcpus import WAIT_S, set_vcpus
from wirt.ports.guest_agent import LISTS_VCPUS, SETS_VCPUS

from .kit import SimulatedHost, Strike, config
from .moves_kit import TwoHosts, until
from .scheduling_kit import host, started

__all__ = ["host"]

T = TypeVar("T")
ROOM = "vcpus = 1\nmaxvcpus = 4"


def web(host: SimulatedHost) -> Domain:
    return host.environment.domains.find("web")


def guest(host: SimulatedHost) -> FakeGuest:
    return host.world.guest(web(host).uuid)


def used(host: SimulatedHost) -> list[int]:
    return [number for number in range(guest(host).vcpus) if number not in guest(host).unused]


async def finished(host: SimulatedHost, job: Job) -> Job:
    """Of one that may have to wait."""
    for _ in range(2000):
        job = host.engine.get(job.id)
        if job.state.finished:
            return job
        await host.clock.advance(0.1)
        await asyncio.sleep(0)
    raise AssertionError(f"it takes for ever: {job.message}")


async def have(host: SimulatedHost, count: int, state: JobState = JobState.DONE) -> Job:
    job = await finished(host, await set_vcpus(host.environment, "web", count))
    assert job.state is state, job.error
    return job


async def flags(host: SimulatedHost) -> list[str]:
    infos = await host.environment.hypervisor.vcpus(web(host).uuid)
    return [shown(host.environment, web(host), info).flags for info in infos]


async def test_a_guest_has_more_at_once_and_fewer_and_more_again(host: SimulatedHost) -> None:
    await started(host, more=ROOM)
    job = await have(host, 3)
    assert job.notes["result"] == {"name": "web", "vcpus": 3, "present": 3}
    assert (guest(host).vcpus, used(host), web(host).config.vcpus) == (3, [0, 1, 2], 3)
    job = await have(host, 1)
    assert job.notes["result"] == {"name": "web", "vcpus": 1, "present": 3}
    assert (guest(host).vcpus, used(host), web(host).config.vcpus) == (3, [0], 1)
    await have(host, 4)
    assert (guest(host).vcpus, used(host)) == (4, [0, 1, 2, 3])


async def test_one_that_stays_unused_is_shown_as_such(host: SimulatedHost) -> None:
    await started(host, more=ROOM)
    await have(host, 3)
    assert await flags(host) == ["-b-", "-b-", "-b-"]
    await have(host, 2)
    assert await flags(host) == ["-b-", "-b-", "--p"]


async def test_the_next_run_begins_with_as_many_and_can_have_as_many_as_ever(host: SimulatedHost) -> None:
    await define(host.environment, Source(config("web", "vcpus = 3"), "web.cfg", "/cfg"))
    await finished(host, await start(host.environment, "web"))
    await have(host, 1)
    assert (web(host).config.vcpus, web(host).config.maxvcpus) == (1, 3)
    await finished(host, await destroy(host.environment, "web"))
    await finished(host, await start(host.environment, "web"))
    assert (guest(host).vcpus, guest(host).plan.maxvcpus) == (1, 3)
    await have(host, 3)


async def test_of_one_that_is_off_only_the_record_changes(host: SimulatedHost) -> None:
    await define(host.environment, Source(config("web", "vcpus = 3"), "web.cfg", "/cfg"))
    before = web(host).text
    await have(host, 3)
    assert web(host).text == before, "it is so already"
    job = await have(host, 2)
    assert job.notes["result"] == {"name": "web", "vcpus": 2, "present": 2}
    assert (web(host).config.vcpus, web(host).config.maxvcpus) == (2, 3)


async def test_new_vcpus_are_held_to_terms_and_pins_at_once(host: SimulatedHost) -> None:
    pinned = f'{ROOM}\ncap = 150\ncpus = ["0", "1", "2-3"]'
    domain = await started(host, more=pinned)
    await have(host, 3)
    threads = await host.threads.of(domain.uuid)
    assert [set(host.threads.affinity(threads[number]) or ()) for number in range(3)] == [{0}, {1}, {2, 3}]
    assert web(host).config.cpus == ("0", "1", "2-3"), "pins of those that are not there are kept"
    await lay(host.environment)


@pytest.mark.parametrize("count", [0, 5, -1])
async def test_what_can_not_be_is_refused_with_what_can(host: SimulatedHost, count: int) -> None:
    await started(host, more=ROOM)
    with pytest.raises(BadInput) as caught:
        await set_vcpus(host.environment, "web", count)
    assert caught.value.hint is not None and "1 to 4" in caught.value.hint


async def test_without_an_agent_it_is_refused_with_what_to_do(host: SimulatedHost) -> None:
    await started(host, more=ROOM)
    guest(host).agent = None
    with pytest.raises(Unavailable, match="without an agent") as caught:
        await set_vcpus(host.environment, "web", 2)
    assert caught.value.hint is not None and "wirt shutdown -w web" in caught.value.hint
    assert guest(host).vcpus == 1


async def test_an_agent_that_can_not_is_named(host: SimulatedHost) -> None:
    await started(host, more=ROOM)
    agent = guest(host).agent
    assert agent is not None
    agent.info = replace(agent.info, commands=agent.info.commands - {SETS_VCPUS, LISTS_VCPUS})
    with pytest.raises(IllegalState, match=f"{LISTS_VCPUS} and {SETS_VCPUS}"):
        await set_vcpus(host.environment, "web", 2)


async def test_one_that_is_paused_is_refused(host: SimulatedHost) -> None:
    await started(host, more=ROOM)
    await power.pause(host.environment, "web")
    await host.settle()
    with pytest.raises(IllegalState, match="only while it runs"):
        await set_vcpus(host.environment, "web", 2)


async def test_a_machine_that_takes_none_is_told_of_and_nothing_is_changed(host: SimulatedHost) -> None:
    await started(host, more=ROOM)
    host.world.fail(Verb.PLUG_VCPUS, Refuse("no hot-plug here"))
    job = await have(host, 2, JobState.FAILED)
    assert job.error is not None and "no hot-plug here" in job.error.message
    assert (guest(host).vcpus, web(host).config.vcpus) == (1, 1)


async def test_an_agent_that_stumbles_is_asked_again(host: SimulatedHost) -> None:
    await started(host, more=ROOM)
    host.world.fail(Verb.SET_VCPUS, Refuse("busy"))
    host.world.fail(Verb.SET_VCPUS, Silence(0.5, done=True))
    await have(host, 3)
    assert used(host) == [0, 1, 2]


async def test_a_guest_that_does_not_do_it_is_told_of_and_uses_what_it_did(host: SimulatedHost) -> None:
    await started(host, more=ROOM)
    host.world.fail(Verb.SET_VCPUS, Refuse("it can't be done"), times=int(WAIT_S * 5) + 2)
    job = await have(host, 3, JobState.FAILED)
    assert job.error is not None and "it can't be done" in job.error.message
    assert (used(host), web(host).config.vcpus) == ([0], 1)
    await have(host, 3)
    assert used(host) == [0, 1, 2]


async def test_vcpus_that_a_guest_brings_up_by_itself_are_taken_from_it_when_it_was_in_vain(
    host: SimulatedHost,
) -> None:
    await started(host, more=ROOM)
    guest(host).uses_new_vcpus = True
    host.world.fail(Verb.PLUG_VCPUS, Silence(0.0, done=True))
    await have(host, 3, JobState.FAILED)
    assert (guest(host).vcpus, used(host), web(host).config.vcpus) == (3, [0], 1)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["plug", "switch"])
@pytest.mark.parametrize("unasked", [False, True])
async def test_a_cancelled_one_leaves_the_guest_with_what_it_used(
    tmp_path: Path, step: str, when: str, *, unasked: bool
) -> None:
    host, cancelling = SimulatedHost(tmp_path), []

    def cancel(job: Job) -> None:
        cancelling.append(asyncio.ensure_future(host.engine.cancel(job.id)))

    await host.boot(Strike(JobKind.VCPU_SET, step, when, cancel))
    await host.create(ROOM)
    guest(host).uses_new_vcpus = unasked
    await have(host, 3, JobState.CANCELLED)
    assert cancelling and (used(host), web(host).config.vcpus) == ([0], 1)
    await host.assert_consistent()
    await have(host, 3)
    assert (guest(host).vcpus, used(host)) == (3, [0, 1, 2])
    await host.stop()


async def test_a_reset_would_give_it_all_of_them_and_so_it_is_started_anew(host: SimulatedHost) -> None:
    await started(host, more=f'{ROOM}\non_crash = "soft-reset"')
    await have(host, 3)
    await have(host, 2)
    before = web(host).domid
    guest(host).panic()
    await host.settle()
    assert (web(host).state, guest(host).vcpus, used(host)) == (State.RUNNING, 2, [0, 1])
    assert web(host).domid != before


async def test_a_new_daemon_knows_how_many_there_are(host: SimulatedHost) -> None:
    await started(host, more=ROOM)
    await have(host, 3)
    await have(host, 2)
    await host.crash()
    await host.boot()
    assert await host.environment.hypervisor.vcpu_plugs.present(web(host).uuid) == 3
    assert await flags(host) == ["-b-", "-b-", "--p"]
    await have(host, 3)
    assert (guest(host).vcpus, used(host)) == (3, [0, 1, 2])


async def two_of_three(host: SimulatedHost) -> None:
    """The guest has three, of which it does not use the last."""
    await have(host, 3)
    await have(host, 2)


async def test_it_moves_with_all_that_it_has(tmp_path: Path) -> None:
    hosts = TwoHosts(tmp_path)
    await hosts.boot("a")
    await hosts.boot("b")
    await hosts.a.create(ROOM)
    await two_of_three(hosts.a)
    job = await migrate(hosts.a.environment, "web", MoveWish("b"))
    await until(hosts, lambda: hosts.a.engine.get(job.id).state.finished)
    assert hosts.a.engine.get(job.id).state is JobState.DONE, hosts.a.engine.get(job.id).error
    await until(hosts, hosts.quiet)
    assert (guest(hosts.b).vcpus, used(hosts.b), web(hosts.b).config.vcpus) == (3, [0, 1], 2)
    await have(hosts.b, 3)
    assert (guest(hosts.b).vcpus, used(hosts.b)) == (3, [0, 1, 2])


async def keeping(hosts: TwoHosts) -> list[str]:
    """What keeps the guest from moving."""
    planned = await plan_move(hosts.a.environment, "web", MoveWish("b"))
    return [remark.what for remark in planned.remarks if remark.blocks]


async def test_a_host_that_counts_no_vcpus_gets_none_that_has_others_than_its_record_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wirt.operations import incoming

    hosts = TwoHosts(tmp_path)
    await hosts.boot("a")
    await hosts.boot("b")
    await hosts.a.create(ROOM)
    terms = incoming.terms

    async def as_an_older_one(environment, offer):  # type: ignore[no-untyped-def]
        return replace(await terms(environment, replace(offer, vcpus=None)), counts_vcpus=False)

    monkeypatch.setattr(incoming, "terms", as_an_older_one)
    assert await keeping(hosts) == []
    await two_of_three(hosts.a)
    (what,) = await keeping(hosts)
    assert "knows nothing of vCPUs" in what


async def with_a_disk(host: SimulatedHost) -> None:
    await finished(host, await volumes.create(host.environment, VolumeRef("default", "root"), MIB))
    text = config("web", f'{ROOM}\ndisk = ["default/root,,xvda,rw"]')
    await define(host.environment, Source(text, "web.cfg", "/cfg"))
    await finished(host, await start(host.environment, "web"))
    await two_of_three(host)


async def test_it_goes_on_from_a_file_and_from_a_snapshot_with_all_that_it_had(
    host: SimulatedHost, tmp_path: Path
) -> None:
    await with_a_disk(host)
    file = str(tmp_path / "web.saved")
    taken = await finished(host, await snapshots_verbs.create(host.environment, "web", "then", memory=True))
    assert taken.state is JobState.DONE, taken.error
    await finished(host, await save(host.environment, "web", SaveWish(file)))
    with pytest.raises(IllegalState, match="is saved"):
        await set_vcpus(host.environment, "web", 3)
    restored = await finished(host, await restore(host.environment, RestoreWish(file)))
    assert restored.state is JobState.DONE, restored.error
    assert (guest(host).vcpus, used(host), web(host).config.vcpus) == (3, [0, 1], 2)
    await have(host, 4)
    reverted = await finished(host, await snapshots_verbs.revert(host.environment, "web", "then", force=True))
    assert reverted.state is JobState.DONE, reverted.error
    assert (guest(host).vcpus, used(host), web(host).config.vcpus) == (3, [0, 1], 2)
    await host.assert_consistent()


async def test_a_new_qemu_of_the_same_host_has_them_all(host: SimulatedHost) -> None:
    await with_a_disk(host)
    refreshed = await finished(host, await refresh(host.environment, "web"))
    assert refreshed.state is JobState.DONE, refreshed.error
    assert (guest(host).vcpus, used(host), web(host).config.vcpus) == (3, [0, 1], 2)


async def test_running_copies_have_them_all(host: SimulatedHost) -> None:
    await with_a_disk(host)
    made = await finished(host, await fork(host.environment, "web", ForkWish(count=1)))
    assert made.state is JobState.DONE, made.error
    copy = host.environment.domains.find("web-1")
    its = host.world.guest(copy.uuid)
    assert (its.vcpus, its.unused, copy.config.vcpus) == (3, {2}, 2)


async def in_time(host: SimulatedHost, work: Awaitable[T]) -> T:
    """``work``'s result; time goes by meanwhile."""
    task = asyncio.ensure_future(work)
    for _ in range(2000):
        if task.done():
            return task.result()
        await host.clock.advance(0.1)
        await asyncio.sleep(0)
    raise AssertionError("it takes for ever")


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_a_guest_uses_what_is_recorded(tmp_path: Path, seed: int) -> None:
    """It is asked for any number, its agent stumbles, its machine refuses, wirtd dies, and it is started anew."""
    chance, host = random.Random(seed), SimulatedHost(tmp_path, seed)
    await host.boot()
    await define(host.environment, Source(config("web", ROOM), "web.cfg", "/cfg"))
    await finished(host, await start(host.environment, "web"))
    for _ in range(25):
        guest(host).uses_new_vcpus = chance.random() < 0.5
        if chance.random() < 0.4:
            verb = chance.choice((Verb.AGENT, Verb.SET_VCPUS, Verb.PLUG_VCPUS, Verb.VCPUS))
            host.world.fail(verb, chance.choice((Refuse(), Silence(0.1), Silence(0.1, done=True))))
        count, before = chance.randint(1, 4), guest(host).vcpus
        with contextlib.suppress(HypervisorError):
            job = await in_time(host, set_vcpus(host.environment, "web", count))
            if chance.random() < 0.3:
                await host.clock.advance(chance.random())
                await host.crash()
                await in_time(host, host.boot())
            job = await finished(host, job)
            assert job.state is not JobState.DONE or web(host).config.vcpus == count
        assert guest(host).vcpus >= before, "none is ever taken out"
        if chance.random() < 0.2:
            await finished(host, await destroy(host.environment, "web"))
            await finished(host, await start(host.environment, "web"))
            assert guest(host).vcpus == web(host).config.vcpus
        await host.settle()
        await host.assert_consistent()
    await host.stop()
