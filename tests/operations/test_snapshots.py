"""Snapshots: what they keep, what going back brings, and what is left when they go."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from wirt.hypervisors.fake.faults import DaemonDies, Die, Verb
from wirt.model.engine import Aio, CacheMode
from wirt.model.errors import IllegalState, NameInUse, NotFound, WirtError
from wirt.model.job import Job, JobState
from wirt.model.lifecycle import State
from wirt.model.storage import Capability, VolumeRef
from wirt.model.units import MIB
from wirt.operations import backup, disk_move, template, volumes
from wirt.operations import snapshots_verbs as verbs
from wirt.operations.create import Source, define
from wirt.operations.destroy import destroy, undefine
from wirt.operations.jobs.engine import Hooks
from wirt.operations.start import start
from wirt.plan.engine import Medium

from .kit import SimulatedHost, config, crash, fail

DISKS = ("xvda", "xvdb")
SEEDS = 25
ACTIONS = 30


class Bench:
    """A domain with two disks, and what is in them."""

    def __init__(self, host: SimulatedHost) -> None:
        self.host = host

    async def prepare(self, more: str = "") -> None:
        for vdev in DISKS:
            job = await volumes.create(self.host.environment, VolumeRef("default", f"web-{vdev}"), MIB)
            await self.host.engine.wait(job.id)
        disks = ", ".join(f'"default/web-{vdev},,{vdev},rw"' for vdev in DISKS)
        text = f"disk = [{disks}]\n{more}"
        await define(self.host.environment, Source(config("web", text), "web.cfg", "/cfg"))

    async def write(self, value: int) -> None:
        """As the guest does, to both of its disks and to its memory."""
        guest = self.host.world.guest(self.domain.uuid)
        for vdev in DISKS:
            self.medium.data.setdefault(guest.disks.find(vdev).chain[0], {})[f"place {value % 5}"] = value

    @property
    def domain(self):  # type: ignore[no-untyped-def]
        return self.host.environment.domains.find("web")

    @property
    def medium(self):  # type: ignore[no-untyped-def]
        return self.host.storage.media["/home/volumes"]

    @property
    def tree(self):  # type: ignore[no-untyped-def]
        return self.host.environment.snapshots.of(self.domain.uuid)

    def disk(self, name: str) -> dict[str, int]:
        return dict(self.medium.seen(self.medium.volumes[name.partition("/")[2]]))

    def now(self) -> list[dict[str, int]]:
        """What the disks hold, by what is open if the guest runs."""
        current = {disk.vdev: disk.kept for disk in self.tree.disks() if disk.current}
        return [self.disk(current.get(vdev, f"default/web-{vdev}")) for vdev in DISKS]

    def kept(self, name: str) -> list[dict[str, int]]:
        return [self.disk(disk.kept) for disk in self.tree.get(name).disks]

    async def job(self, submitted) -> Job:  # type: ignore[no-untyped-def]
        job = await self.host.engine.wait((await submitted).id)
        await self.host.settle()
        return job

    async def take(self, name: str, *, memory: bool = False) -> Job:
        return await self.job(verbs.create(self.host.environment, "web", name, memory=memory))

    async def back(self, name: str) -> Job:
        return await self.job(verbs.revert(self.host.environment, "web", name, force=True))

    async def delete(self, name: str) -> Job:
        return await self.job(verbs.delete(self.host.environment, "web", name))


async def ok(job: Job) -> None:
    assert job.state is JobState.DONE, job.error


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    host = SimulatedHost(tmp_path)
    await host.boot()
    bench = Bench(host)
    await bench.prepare()
    return bench


async def run(bench: Bench) -> None:
    await ok(await bench.job(start(bench.host.environment, "web")))


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("copies", [False, True])
async def test_going_back_brings_what_was(bench: Bench, memory: bool, copies: bool) -> None:
    if copies:
        bench.host.storage.lacking = {Capability.LAYERS}
        await bench.host.environment.pools.close("default")
    await run(bench)
    await bench.write(1)
    await ok(await bench.take("before", memory=memory))
    assert bench.domain.state is State.RUNNING
    await bench.write(2)
    assert bench.now() == [{"place 1": 1, "place 2": 2}] * 2
    assert bench.kept("before") == [{"place 1": 1}] * 2
    await ok(await bench.back("before"))
    assert bench.domain.state is (State.RUNNING if memory else State.OFF)
    assert bench.now() == [{"place 1": 1}] * 2
    await ok(await bench.delete("before"))
    assert bench.now() == [{"place 1": 1}] * 2
    assert sorted(bench.medium.volumes) == [f"web-{vdev}" for vdev in DISKS]
    await bench.host.assert_consistent()


async def test_what_a_guest_goes_on_in_is_served_as_at_its_next_start(bench: Bench) -> None:
    await run(bench)
    bench.host.storage.grounds["/home/volumes"] = Medium("ext4")
    await ok(await bench.take("before"))
    guest = bench.host.world.guest(bench.domain.uuid)
    now = [guest.disks.find(vdev).engine for vdev in DISKS]
    assert [(engine.cache, engine.aio) for engine in now] == [(CacheMode.NONE, Aio.NATIVE)] * 2


async def test_snapshots_make_a_tree_and_each_goes_alone(bench: Bench) -> None:
    await run(bench)
    for number, name in enumerate(("a", "b"), 1):
        await bench.write(number)
        await ok(await bench.take(name))
    await ok(await bench.back("a"))
    await run(bench)
    await bench.write(3)
    await ok(await bench.take("c"))
    assert {each.name: each.parent for each in bench.tree.snapshots} == {"a": None, "b": "a", "c": "a"}
    assert bench.tree.head == "c"
    await ok(await bench.delete("a"))
    assert [disk.kept for disk in bench.tree.left] == [f"default/web-{vdev}+a" for vdev in DISKS]
    assert bench.kept("b") == [{"place 1": 1, "place 2": 2}] * 2
    await ok(await bench.delete("b"))
    assert bench.tree.left == ()
    assert bench.now() == bench.kept("c") == [{"place 1": 1, "place 3": 3}] * 2
    await ok(await bench.delete("c"))
    assert sorted(bench.medium.volumes) == [f"web-{vdev}" for vdev in DISKS]


async def test_a_domain_with_snapshots_is_not_forgotten_nor_are_its_volumes(bench: Bench) -> None:
    await ok(await bench.take("before"))
    with pytest.raises(IllegalState, match="before"):
        await undefine(bench.host.environment, "web")
    for name in ("web-xvda+before", "web-xvda"):
        with pytest.raises(WirtError):
            await volumes.destroy(bench.host.environment, VolumeRef("default", name))


async def test_nothing_is_done_to_disks_whose_backup_is_under_way(bench: Bench, tmp_path: Path) -> None:
    await run(bench)
    await ok(await bench.take("before"))
    environment = bench.host.environment
    job = await backup.create(environment, "web", str(tmp_path / "backups"), "/")
    for refused in (
        verbs.create(environment, "web", "now"),
        verbs.delete(environment, "web", "before"),
        verbs.revert(environment, "web", "before", force=True),
        volumes.resize(environment, VolumeRef("default", "web-xvda"), 2 * MIB),
        disk_move.move_disk(environment, "web", "xvda", VolumeRef("default", "new")),
    ):
        with pytest.raises(WirtError, match=r"backup|snapshots"):
            await refused
    await bench.host.engine.wait(job.id)
    await bench.host.settle()
    await ok(await bench.delete("before"))


async def test_what_a_snapshot_is_made_of_becomes_no_template(bench: Bench) -> None:
    await ok(await bench.take("before"))
    with pytest.raises(IllegalState, match="snapshots"):
        await template.create(bench.host.environment, "web")


async def test_names_are_given_once_and_told_when_wrong(bench: Bench) -> None:
    await ok(await bench.take("before"))
    with pytest.raises(NameInUse, match="before"):
        await bench.take("before")
    with pytest.raises(NotFound, match="did you mean before"):
        pytest.fail(str(bench.host.environment.snapshots.find(bench.domain, "befor")))


async def test_a_domain_that_runs_goes_back_only_when_forced(bench: Bench) -> None:
    await run(bench)
    await ok(await bench.take("before"))
    with pytest.raises(IllegalState, match="--force"):
        await verbs.revert(bench.host.environment, "web", "before")


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.MERGE_DISK, Verb.RESUME])
async def test_a_guest_that_a_killed_daemon_left_standing_in_a_removal_goes_on(
    bench: Bench, verb: Verb, done: bool
) -> None:
    await run(bench)
    await ok(await bench.take("before"))
    await bench.write(1)
    await killed_by(bench, verb, verbs.delete(bench.host.environment, "web", "before"), done)
    assert bench.tree.snapshots == ()
    assert bench.domain.state is State.RUNNING
    assert bench.now() == [{"place 1": 1}] * 2


async def test_a_removal_comes_to_its_end_if_the_guest_dies_once_it_has_gone_over(bench: Bench) -> None:
    await run(bench)
    await ok(await bench.take("before"))
    await bench.write(1)
    bench.host.world.fail(Verb.RESUME, Die())
    await ok(await bench.delete("before"))
    assert bench.domain.state is State.OFF
    assert bench.now() == [{"place 1": 1}] * 2
    await run(bench)
    await bench.host.assert_consistent()


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.SNAPSHOT_DISKS, Verb.SAVE_MEMORY, Verb.RESUME])
async def test_a_guest_that_a_killed_daemon_left_standing_in_a_snapshot_goes_on(
    bench: Bench, verb: Verb, done: bool
) -> None:
    await run(bench)
    await bench.write(1)
    await killed_by(bench, verb, verbs.create(bench.host.environment, "web", "kept", memory=True), done)
    assert [each.name for each in bench.tree.snapshots] == ["kept"]
    assert bench.domain.state is State.RUNNING
    assert bench.kept("kept") == bench.now() == [{"place 1": 1}] * 2


async def killed_by(bench: Bench, verb: Verb, submitted, done: bool) -> None:  # type: ignore[no-untyped-def]
    """And begun again. ``done``: after the verb had its effect."""
    bench.host.world.fail(verb, DaemonDies(done))
    await submitted
    await bench.host.settle()
    await bench.host.crash()
    await bench.host.boot()
    await bench.host.settle()
    await bench.host.assert_consistent()


@dataclass
class Model:
    """What should be: the disks now, and what each snapshot holds."""

    now: list[dict[str, int]] = field(default_factory=lambda: [{}, {}])
    kept: dict[str, list[dict[str, int]]] = field(default_factory=dict)


class Trouble(Hooks):
    """Fails or crashes the daemon at some step or other."""

    def __init__(self, seed: random.Random) -> None:
        self._random = seed
        self.on = False
        self.crashed = False

    async def before(self, job: Job, step: str) -> None:
        self._strike(job)

    async def after(self, job: Job, step: str) -> None:
        self._strike(job)

    def _strike(self, job: Job) -> None:
        if self.on and self._random.random() < 0.15:
            self.on = False
            if self._random.random() < 0.5:
                fail(job)
            self.crashed = True
            crash(job)


async def attempt(bench: Bench, trouble: Trouble, act) -> None:  # type: ignore[no-untyped-def]
    """``act`` with trouble on the way, and whatever comes after it."""
    host = bench.host
    trouble.on, trouble.crashed = True, False
    acting = asyncio.ensure_future(act)
    await host.settle()
    trouble.on = False
    acting.cancel()
    with contextlib.suppress(WirtError, asyncio.CancelledError):
        await acting
    await host.settle()
    if trouble.crashed:
        await host.crash()
        await host.boot(trouble)
        await host.settle()


def submit(bench: Bench, seed: random.Random, number: int):  # type: ignore[no-untyped-def]
    environment, names = bench.host.environment, [each.name for each in bench.tree.snapshots]
    choice = seed.choice(["take", "take", "memory", "back", "delete", "delete", "start", "destroy"])
    if choice in ("take", "memory"):
        name = f"s{number}"
        return choice, name, verbs.create(environment, "web", name, memory=choice == "memory")
    if choice in ("back", "delete") and names:
        name = seed.choice(names)
        if choice == "back":
            return choice, name, verbs.revert(environment, "web", name, force=seed.random() < 0.7)
        return choice, name, verbs.delete(environment, "web", name)
    if choice == "destroy":
        return choice, "", destroy(environment, "web")
    return "start", "", start(environment, "web")


def check(bench: Bench, model: Model, choice: str, name: str) -> None:
    """As before or as after, never in between; whatever else there is stays what it was."""
    held = {each.name for each in bench.tree.snapshots}
    if choice in ("take", "memory") and name in held:
        model.kept[name] = [dict(disk) for disk in model.now]
    if choice == "back" and bench.now() != model.now:
        assert bench.now() == model.kept[name], "neither as before nor as it was then"
        model.now = [dict(disk) for disk in model.kept[name]]
    assert bench.now() == model.now
    model.kept = {each: disks for each, disks in model.kept.items() if each in held}
    for each in bench.tree.snapshots:
        if not each.leaving:
            assert bench.kept(each.name) == model.kept[each.name], each.name


@pytest.mark.parametrize("number", range(SEEDS))
async def test_whatever_fails_each_state_is_as_before_or_as_after(tmp_path: Path, number: int) -> None:
    seed = random.Random(number)
    host = SimulatedHost(tmp_path, number)
    trouble = Trouble(seed)
    await host.boot(trouble)
    bench, model = Bench(host), Model()
    await bench.prepare()
    for action in range(ACTIONS):
        if bench.domain.state is State.RUNNING:
            await bench.write(action)
            for disk in model.now:
                disk[f"place {action % 5}"] = action
        choice, name, act = submit(bench, seed, action)
        await attempt(bench, trouble, act)
        await host.assert_consistent()
        check(bench, model, choice, name)
    if bench.domain.state is not State.OFF:
        await ok(await bench.job(destroy(host.environment, "web")))
    while bench.tree.snapshots:
        unfinished = bench.tree.unfinished or bench.tree.snapshots[0].name
        await ok(await bench.delete(unfinished))
    assert bench.now() == model.now
    assert sorted(bench.medium.volumes) == [f"web-{vdev}" for vdev in DISKS], "something is left"
    await host.stop()
