"""What follows a guest's end is what its configuration says: xl.cfg(5), "Event Actions"."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import pytest
from tests.operations.kit import SimulatedHost

from wirt.hypervisors.fake import Refuse, Verb
from wirt.model.errors import IllegalState, NotFound
from wirt.model.lifecycle import EndReason, State
from wirt.operations import power
from wirt.operations.conclude import wait_ended
from wirt.operations.create import Source, create, define
from wirt.operations.destroy import destroy, undefine
from wirt.operations.reconcile.host import MOST_RESTARTS, RESTARTS_WITHIN_S
from wirt.operations.start import start

ENDS = ("power_off", "reboot", "panic", "watchdog")
KEYS = {"power_off": "on_poweroff", "reboot": "on_reboot", "panic": "on_crash", "watchdog": "on_watchdog"}


@pytest.fixture
async def host(tmp_path: Path) -> SimulatedHost:
    host = SimulatedHost(tmp_path)
    await host.boot()
    return host


async def end(host: SimulatedHost, how: str, action: str) -> UUID:
    await host.create(f'{KEYS[how]} = "{action}"')
    uuid = host.environment.domains.find("web").uuid
    getattr(host.world.guest(uuid), how)()
    await host.settle()
    return uuid


@pytest.mark.parametrize("how", ENDS)
async def test_destroy_leaves_nothing(host: SimulatedHost, how: str) -> None:
    await end(host, how, "destroy")
    assert host.environment.domains.named("web") is None
    assert host.live_guests() == []
    await host.assert_consistent()


@pytest.mark.parametrize("how", ENDS)
async def test_restart_is_a_new_run_of_the_same_domain(host: SimulatedHost, how: str) -> None:
    uuid = await end(host, how, "restart")
    domain = host.environment.domains.find("web")
    assert (domain.uuid, domain.domid, domain.state) == (uuid, 2, State.RUNNING)
    await host.assert_consistent()


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("action", ["destroy", "restart", "rename-restart", "coredump-destroy", "preserve"])
async def test_who_waits_for_an_end_is_answered_when_all_that_follows_is_done(
    host: SimulatedHost, how: str, action: str
) -> None:
    await host.create(f'{KEYS[how]} = "{action}"')
    domain = host.environment.domains.find("web")
    waiting = asyncio.ensure_future(wait_ended(host.environment, "web", 60))
    await asyncio.sleep(0)
    getattr(host.world.guest(domain.uuid), how)()
    answer = await waiting
    assert host.environment.domains.get(domain.uuid) in (None, answer)
    if action == "preserve":
        assert answer.state in (State.SHUTDOWN, State.CRASHED)
    else:
        assert answer.domid != domain.domid
    await host.settle()
    await host.assert_consistent()


@pytest.mark.parametrize("how", ENDS)
async def test_preserve_keeps_the_ended_run_to_be_looked_at(host: SimulatedHost, how: str) -> None:
    await end(host, how, "preserve")
    domain = host.environment.domains.find("web")
    assert domain.state in (State.SHUTDOWN, State.CRASHED)
    assert domain.domid == 1
    await host.assert_consistent()
    await destroy(host.environment, "web")
    await host.settle()
    assert host.environment.domains.named("web") is None


@pytest.mark.parametrize("how", ENDS)
async def test_rename_restart_keeps_the_old_run_beside_the_new(host: SimulatedHost, how: str) -> None:
    uuid = await end(host, how, "rename-restart")
    new = host.environment.domains.find("web")
    (old,) = [domain for domain in host.environment.domains if domain.name.startswith("web-")]
    assert (new.uuid, new.state, new.domid) == (uuid, State.RUNNING, 2)
    assert old.domid == 1
    assert old.state in (State.SHUTDOWN, State.CRASHED)
    assert str(old.uuid) in old.text
    await host.assert_consistent()


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("action", ["coredump-destroy", "coredump-restart"])
async def test_a_core_is_written_before_the_run_ends(
    host: SimulatedHost, tmp_path: Path, how: str, action: str
) -> None:
    await end(host, how, action)
    (core,) = (tmp_path / "dumps").iterdir()
    assert core.name.startswith("web-")
    assert core.stat().st_mode & 0o777 == 0o600
    assert (host.environment.domains.named("web") is not None) == (action == "coredump-restart")
    await host.assert_consistent()


async def test_a_core_that_cant_be_written_does_not_keep_the_guest_from_its_end(
    host: SimulatedHost, tmp_path: Path
) -> None:
    host.world.fail(Verb.DUMP_CORE, Refuse("no room"))
    await end(host, "panic", "coredump-destroy")
    assert host.environment.domains.named("web") is None
    assert list((tmp_path / "dumps").iterdir()) == []
    assert any("no room" in str(job.notes.get("dump")) for job in host.engine.all())


async def test_soft_reset_goes_on_in_the_same_run(host: SimulatedHost) -> None:
    await end(host, "panic", "soft-reset")
    domain = host.environment.domains.find("web")
    assert (domain.state, domain.domid) == (State.RUNNING, 1)


async def test_a_restart_that_fails_leaves_a_transient_domain_gone_and_says_why(host: SimulatedHost) -> None:
    await host.create('on_reboot = "restart"')
    host.world.fail(Verb.LAUNCH, Refuse("no more room"))
    host.world.guest(host.environment.domains.find("web").uuid).reboot()
    await host.settle()
    assert host.environment.domains.named("web") is None
    assert "no more room" in str(host.engine.all()[-1].error)
    await host.assert_consistent()


async def test_a_guest_that_ends_again_and_again_is_not_started_for_ever(host: SimulatedHost) -> None:
    await host.create('on_crash = "restart"')
    uuid = host.environment.domains.find("web").uuid
    for _ in range(MOST_RESTARTS):
        host.world.guest(uuid).panic()
        await host.settle()
    assert host.environment.domains.find("web").state is State.RUNNING
    host.world.guest(uuid).panic()
    await host.settle()
    assert host.environment.domains.named("web") is None


async def test_a_guest_that_ends_now_and_then_is_always_restarted(host: SimulatedHost) -> None:
    await host.create('on_crash = "restart"')
    uuid = host.environment.domains.find("web").uuid
    for _ in range(3 * MOST_RESTARTS):
        host.world.guest(uuid).panic()
        await host.settle()
        await host.clock.advance(RESTARTS_WITHIN_S / 2)
    assert host.environment.domains.find("web").state is State.RUNNING


async def test_a_run_whose_process_vanished_counts_as_crashed(host: SimulatedHost) -> None:
    await host.create('on_crash = "restart"')
    uuid = host.environment.domains.find("web").uuid
    host.world.guest(uuid).vanish()
    await host.settle()
    assert host.environment.domains.find("web").domid == 2
    await host.assert_consistent()


async def test_what_ended_while_no_daemon_ran_is_concluded_by_the_next(host: SimulatedHost) -> None:
    await host.create('on_poweroff = "restart"')
    uuid = host.environment.domains.find("web").uuid
    await host.crash()
    host.world.guest(uuid).power_off()
    await host.boot()
    await host.settle()
    domain = host.environment.domains.find("web")
    assert (domain.state, domain.domid) == (State.RUNNING, 2)
    await host.assert_consistent()


async def test_a_reboot_that_was_asked_for_takes_on_reboot_even_across_a_crash(host: SimulatedHost) -> None:
    await host.create('on_poweroff = "destroy"\non_reboot = "restart"')
    uuid = host.environment.domains.find("web").uuid
    host.world.guest(uuid).obeys_power_button = False
    await power.reboot(host.environment, "web")
    await host.crash()
    host.world.guest(uuid).power_off()
    await host.boot()
    await host.settle()
    assert host.environment.domains.find("web").domid == 2


async def test_guests_and_their_states_survive_the_daemon(host: SimulatedHost) -> None:
    await host.create(name="one")
    await host.create(name="two", paused=True)
    await host.crash()
    await host.boot()
    states = {domain.name: (domain.domid, domain.state) for domain in host.environment.domains}
    assert states == {"one": (1, State.RUNNING), "two": (2, State.PAUSED)}
    await host.assert_consistent()


async def test_after_a_power_loss_no_run_is_believed_in(host: SimulatedHost) -> None:
    await host.create(name="one")
    await host.crash()
    host.world.lose_power()
    await host.boot()
    await host.settle()
    await host.assert_consistent()
    assert host.live_guests() == []


async def test_of_two_creates_of_one_name_exactly_one_wins(host: SimulatedHost) -> None:
    source = Source('name="web"\ntype="pvh"\nkernel="/k"\nmemory=128', "web.cfg", "/")
    jobs = [await create(host.environment, source) for _ in range(2)]
    ended = [await host.engine.wait(job.id) for job in jobs]
    assert sorted(str(job.state) for job in ended) == ["done", "failed"]
    assert [job.error.code for job in ended if job.error] == ["name-in-use"]
    await host.assert_consistent()
    assert len(host.live_guests()) == 1


async def test_a_persistent_domain_stays_when_it_is_off_and_can_be_started_again(host: SimulatedHost) -> None:
    source = Source('name="db"\ntype="pvh"\nkernel="/k"\nmemory=128', "db.cfg", "/")
    await define(host.environment, source)
    for domid in (1, 2):
        job = await start(host.environment, "db")
        await host.engine.wait(job.id)
        assert host.environment.domains.find("db").domid == domid
        await power.shutdown(host.environment, "db")
        await host.settle()
        assert host.environment.domains.find("db").state is State.OFF
    await undefine(host.environment, "db")
    with pytest.raises(NotFound):
        host.environment.domains.find("db")
    await host.assert_consistent()


async def test_a_rename_moves_the_name_and_the_stored_text(host: SimulatedHost) -> None:
    await host.create()
    await power.rename(host.environment, "web", "shop")
    assert host.environment.domains.named("web") is None
    assert 'name = "shop"' in host.environment.domains.find("shop").text
    await host.create()
    await host.assert_consistent()
    await host.crash()
    await host.boot()
    assert host.environment.domains.find("shop").domid == 1


async def test_waiting_for_a_state_ends_when_it_comes_and_when_the_domain_goes(host: SimulatedHost) -> None:

    await host.create()
    waiting = asyncio.create_task(power.wait_for(host.environment, "web", frozenset({State.OFF}), 30))
    await host.settle()
    assert not waiting.done()
    host.world.guest(host.environment.domains.find("web").uuid).power_off()
    await host.settle()
    assert (await waiting).state is State.OFF


async def test_why_a_run_ended_is_told_to_those_who_listen(host: SimulatedHost) -> None:
    await host.create()
    host.world.guest(host.environment.domains.find("web").uuid).panic()
    await host.settle()
    told = [event.data.get("reason") for event in host.environment.bus._kept if event.kind == "domain"]
    assert str(EndReason.CRASH) in told


async def test_a_domain_is_not_forgotten_while_a_job_starts_it(host: SimulatedHost) -> None:
    source = Source('name="web"\ntype="pvh"\nkernel="/k"\nmemory=128', "web.cfg", "/")
    host.world.latency_s[Verb.LAUNCH] = 5.0
    job = await create(host.environment, source)
    await host.settle()
    with pytest.raises(IllegalState, match="under way"):
        await undefine(host.environment, "web")
    await host.clock.advance(10)
    assert (await host.engine.wait(job.id)).state == "done"
    await host.assert_consistent()


async def test_a_run_that_cant_be_adopted_keeps_no_daemon_from_starting_and_is_tried_again(
    host: SimulatedHost,
) -> None:
    await host.create(name="one")
    await host.create(name="two")
    await host.crash()
    host.world.fail(Verb.ADOPT, Refuse("not now"))
    await host.boot()
    states = sorted(domain.state for domain in host.environment.domains)
    assert states == [State.RUNNING, State.STARTING]
    await host.clock.advance(10)
    await host.settle()
    assert {domain.state for domain in host.environment.domains} == {State.RUNNING}
    await host.assert_consistent()


async def test_a_step_that_is_cancelled_is_never_cut_in_two(host: SimulatedHost) -> None:
    """Seed 752: a cancelled reservation was in the store and not in memory, and nobody took it back."""
    source = Source('name="web"\ntype="pvh"\nkernel="/k"\nmemory=128', "web.cfg", "/")
    for turns in range(30):
        job = await create(host.environment, source)
        for _ in range(turns):
            await asyncio.sleep(0)
        await host.engine.cancel(job.id)
        if (await host.engine.wait(job.id)).state == "done":
            await destroy(host.environment, "web")
            await host.settle()
        await host.assert_consistent()
        await host.environment.domains.load()
        assert list(host.environment.domains) == []


async def test_a_reboot_that_the_guest_ignored_is_not_remembered_at_its_shutdown(host: SimulatedHost) -> None:
    await host.create('on_poweroff = "destroy"\non_reboot = "restart"')
    guest = host.world.guest(host.environment.domains.find("web").uuid)
    guest.obeys_power_button = False
    await power.reboot(host.environment, "web")
    guest.obeys_power_button = True
    await power.shutdown(host.environment, "web")
    await host.settle()
    assert host.environment.domains.named("web") is None
    await host.assert_consistent()
