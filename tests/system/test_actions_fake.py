"""``on_poweroff`` and its siblings with all of Xen's actions, in the daemon as it is wired, its store on disk.

The guests are scripted, which only a test in the same process can do. What each action does by itself is in
tests/operations; here it is also what the next daemon makes of it: nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wirt.config.settings import DaemonSettings, read_settings
from wirt.daemon import guard
from wirt.daemon.wiring import running_host
from wirt.hypervisors.fake import FakeWorld, Verb
from wirt.model.errors import IllegalState
from wirt.model.lifecycle import Action, State
from wirt.operations import power
from wirt.operations.create import Source, create
from wirt.operations.destroy import destroy, undefine
from wirt.operations.environment import Environment
from wirt.operations.start import start
from wirt.ports.clock import SystemClock
from wirt.wire.home import Home

from .guests import fake

ENDS = {"on_poweroff": "power_off", "on_reboot": "reboot", "on_crash": "panic", "on_watchdog": "watchdog"}
SETTINGS: DaemonSettings = read_settings("", "", {"WIRT_HYPERVISOR": "fake"})
SEEN_S = 10.0

Shown = list[tuple[str, int | None, str]]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> FakeWorld:
    """The guests, which outlive each daemon here as those of a real hypervisor do."""
    made = FakeWorld(SystemClock())
    monkeypatch.setattr("wirt.hypervisors.fake.FakeWorld", lambda clock: made)
    return made


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(str(tmp_path / "home"), str(tmp_path / "home/run"))
    guard.prepare(home)
    return home


async def begin(environment: Environment, more: str = "", *, persistent: bool = False) -> None:
    job = await create(environment, Source(fake("web", more), "web.cfg", "/"), persistent=persistent)
    assert (await environment.jobs.wait(job.id)).error is None


async def shown(environment: Environment) -> Shown:
    """All domains, once no job runs and nothing has changed for a moment."""
    before: Shown | None = None
    async with asyncio.timeout(SEEN_S):
        while True:
            await asyncio.sleep(0.02)
            now = [(domain.name, domain.domid, str(domain.state)) for domain in environment.domains]
            if now == before and all(job.state.finished for job in environment.jobs.all()):
                return now
            before = now


def guest_ends(world: FakeWorld, environment: Environment, how: str) -> None:
    getattr(world.guest(environment.domains.find("web").uuid), how)()


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("key", ENDS)
async def test_an_action_is_carried_out_once_and_not_again_by_the_next_daemon(
    world: FakeWorld, home: Home, key: str, action: Action
) -> None:
    async with running_host(home, SETTINGS) as first:
        await begin(first, f'{key} = "{action}"')
        guest_ends(world, first, ENDS[key])
        after = await shown(first)
        expected = {
            Action.DESTROY: 0,
            Action.COREDUMP_DESTROY: 0,
            Action.RENAME_RESTART: 2,
        }
        assert len(after) == expected.get(action, 1), after
        guests = world.guests()
        cores = sorted(path.name for path in Path(home.dumps).glob("*.core"))
        assert bool(cores) == (action in (Action.COREDUMP_DESTROY, Action.COREDUMP_RESTART))
    for _ in range(2):
        async with running_host(home, SETTINGS) as next_daemon:
            assert await shown(next_daemon) == after
            assert world.guests() == guests
            assert sorted(path.name for path in Path(home.dumps).glob("*.core")) == cores


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("key", ENDS)
async def test_an_end_that_no_daemon_saw_leads_to_the_same(
    world: FakeWorld, home: Home, key: str, action: Action
) -> None:
    async with running_host(home, SETTINGS) as first:
        await begin(first, f'{key} = "{action}"')
        uuid = first.domains.find("web").uuid
    getattr(world.guest(uuid), ENDS[key])()
    async with running_host(home, SETTINGS) as second:
        after = await shown(second)
    match action:
        case Action.DESTROY | Action.COREDUMP_DESTROY:
            assert after == []
        case Action.RESTART | Action.COREDUMP_RESTART:
            assert after == [("web", 2, "running")]
        case Action.SOFT_RESET:
            assert after == [("web", 1, "running")]
        case Action.PRESERVE:
            assert after in ([("web", 1, "shutdown")], [("web", 1, "crashed")])
        case Action.RENAME_RESTART:
            assert after[1] == ("web", 2, "running")
            assert after[0][0].startswith("web-")


async def test_a_kept_run_holds_no_disk_against_its_successor(
    world: FakeWorld, home: Home, tmp_path: Path
) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(4096))
    more = f'disk = ["{disk},raw,xvda,rw"]\non_crash = "rename-restart"'
    async with running_host(home, SETTINGS) as environment:
        await begin(environment, more, persistent=True)
        guest_ends(world, environment, "panic")
        assert len(await shown(environment)) == 2
        await destroy(environment, "web")
        await shown(environment)
        await start(environment, "web")
        assert ("web", 3, "running") in await shown(environment)
    async with running_host(home, SETTINGS) as environment:
        await destroy(environment, "web")
        await shown(environment)
        await start(environment, "web")
        assert ("web", 4, "running") in await shown(environment)


async def test_a_kept_run_of_the_longest_name_can_be_read_again(world: FakeWorld, home: Home) -> None:
    name = "n" * 128
    async with running_host(home, SETTINGS) as environment:
        source = Source(fake(name, 'on_crash = "rename-restart"'), "long.cfg", "/")
        job = await create(environment, source)
        await environment.jobs.wait(job.id)
        world.guest(environment.domains.find(name).uuid).panic()
        after = await shown(environment)
        assert len({each[0] for each in after}) == 2
    async with running_host(home, SETTINGS) as environment:
        assert await shown(environment) == after


async def test_a_reboot_that_was_a_soft_reset_does_not_make_the_next_poweroff_one(
    world: FakeWorld, home: Home
) -> None:
    async with running_host(home, SETTINGS) as environment:
        await begin(environment, 'on_reboot = "soft-reset"')
        await power.reboot(environment, "web")
        assert await shown(environment) == [("web", 1, "running")]
        guest_ends(world, environment, "power_off")
        assert await shown(environment) == []


async def test_destroy_wins_over_a_restart_that_comes_at_the_same_time(world: FakeWorld, home: Home) -> None:
    async with running_host(home, SETTINGS) as environment:
        await begin(environment, persistent=True)
        world.latency_s[Verb.DESTROY] = 0.2
        await destroy(environment, "web")
        await asyncio.sleep(0.1)
        guest_ends(world, environment, "reboot")
        assert await shown(environment) == [("web", None, "off")]


async def test_a_domain_between_two_runs_can_be_destroyed_but_not_started_or_forgotten(
    world: FakeWorld, home: Home
) -> None:
    async with running_host(home, SETTINGS) as environment:
        await begin(environment, persistent=True)
        world.latency_s[Verb.LAUNCH] = 0.3
        guest_ends(world, environment, "reboot")
        async with asyncio.timeout(SEEN_S):
            while environment.domains.find("web").incarnation is not None:
                await asyncio.sleep(0.01)
        with pytest.raises(IllegalState):
            await start(environment, "web")
        with pytest.raises(IllegalState):
            await undefine(environment, "web")
        await destroy(environment, "web")
        assert await shown(environment) == [("web", None, "off")]
        assert world.guests() == ()


async def test_a_shutdown_is_never_told_as_failed_because_the_guest_was_quick(
    world: FakeWorld, home: Home
) -> None:
    async with running_host(home, SETTINGS) as environment:
        for _ in range(20):
            await begin(environment)
            await power.shutdown(environment, "web")
            assert await shown(environment) == []


async def test_a_restart_loop_is_stopped_and_says_why(world: FakeWorld, home: Home) -> None:
    async with running_host(home, SETTINGS) as environment:
        told: list[str] = []

        async def listen() -> None:
            async for happening in environment.bus.follow():
                told.append(str(happening.data.get("message", "")))

        listener = asyncio.create_task(listen())
        await begin(environment, 'on_crash = "restart"')
        for domid in range(1, 6):
            guest_ends(world, environment, "panic")
            assert await shown(environment) == [("web", domid + 1, "running")]
        guest_ends(world, environment, "panic")
        assert await shown(environment) == []
        assert any("5 times within 60 s and is not started again" in text for text in told), told
        listener.cancel()


async def test_a_daemon_waits_for_slow_guests_all_at_once(world: FakeWorld, home: Home) -> None:
    async with running_host(home, SETTINGS) as environment:
        for number in range(10):
            job = await create(environment, Source(fake(f"web-{number}"), "web.cfg", "/"))
            await environment.jobs.wait(job.id)
    world.latency_s[Verb.ADOPT] = 1.0
    async with asyncio.timeout(5), running_host(home, SETTINGS) as environment:
        assert [domain.state for domain in environment.domains] == [State.RUNNING] * 10


@pytest.fixture(autouse=True)
async def quiet() -> AsyncIterator[None]:
    yield
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert tasks == [], "a daemon that has ended leaves nothing running"
