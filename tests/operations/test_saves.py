"""Guests in files: what becomes of them, and what does not go on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from wirt.hypervisors.fake.faults import DaemonDies, Die, Fault, Refuse, Silence, Verb
from wirt.model.errors import BadInput, ConfigError, CorruptState, IllegalState, NameInUse, NotFound, Unavailable
from wirt.model.job import Job, JobState
from wirt.model.lifecycle import State
from wirt.model.storage import VolumeRef
from wirt.model.units import MIB
from wirt.operations import power, volumes
from wirt.operations.create import Source, define
from wirt.operations.destroy import destroy, undefine
from wirt.operations.jobs.step import JobKind
from wirt.operations.save import SaveWish, save
from wirt.operations.save_restore import RestoreWish, preview, restore
from wirt.operations.start import start
from wirt.plan.saved import read_guest
from wirt.storage.save_files import HostSaveFiles

from .kit import SimulatedHost, Strike, config, crash, fail

DISK = 'disk = ["default/root,,xvda,rw"]'
MEMORY = b"what the guest was thinking of"


class Bench:
    """A defined domain with a disk, which runs and has something in its memory."""

    def __init__(self, host: SimulatedHost, directory: Path) -> None:
        self.host = host
        self.file = str(directory / "web.saved")

    async def prepare(self, more: str = DISK) -> None:
        await self.job(volumes.create(self.host.environment, VolumeRef("default", "root"), MIB))
        await define(self.host.environment, Source(config("web", more), "web.cfg", "/cfg"))
        await self.begin()

    async def begin(self) -> None:
        await self.job(start(self.host.environment, "web"))
        self.guest.memory = MEMORY

    @property
    def guest(self):  # type: ignore[no-untyped-def]
        return self.host.world.guest(self.domain.uuid)

    @property
    def domain(self):  # type: ignore[no-untyped-def]
        return self.host.environment.domains.find("web")

    def write(self) -> None:
        """As the guest does, or anybody else."""
        [medium] = self.host.storage.media.values()
        path = medium.volumes["root"].path
        medium.data.setdefault(path, {})["place"] = medium.data.get(path, {}).get("place", 0) + 1

    async def job(self, submitted, state: JobState = JobState.DONE) -> Job:  # type: ignore[no-untyped-def]
        job = await self.host.engine.wait((await submitted).id)
        while self.host.engine.busy(UUID(job.arguments.get("uuid", str(UUID(int=0))))):
            await asyncio.sleep(0)
        assert job.state is state, job.error
        return job

    async def save(self, state: JobState = JobState.DONE, **how: Any) -> Job:
        return await self.job(save(self.host.environment, "web", SaveWish(self.file, **how)), state)

    async def restore(self, state: JobState = JobState.DONE, **how: Any) -> Job:
        return await self.job(restore(self.host.environment, RestoreWish(self.file, **how)), state)

    def files(self) -> list[str]:
        return sorted(each.name for each in Path(self.file).parent.glob("*web.saved*"))


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    host = SimulatedHost(tmp_path)
    await host.boot()
    bench = Bench(host, tmp_path)
    await bench.prepare()
    return bench


async def test_a_saved_guest_is_off_and_goes_on_where_it_was(bench: Bench) -> None:
    before = bench.domain.domid
    job = await bench.save()
    assert (bench.domain.state, bench.domain.saved) == (State.OFF, bench.file)
    assert job.notes["result"]["file"] == bench.file
    await bench.host.assert_consistent()
    await bench.restore()
    assert (bench.domain.state, bench.domain.saved) == (State.RUNNING, None)
    assert bench.domain.domid > before
    assert bench.guest.memory == MEMORY
    await bench.host.assert_consistent()
    assert bench.files() == ["web.saved"], "the file stays, as xl's does"


async def test_it_stays_paused_if_asked(bench: Bench) -> None:
    await power.pause(bench.host.environment, "web")
    await bench.save()
    await bench.restore(paused=True)
    assert bench.domain.state is State.PAUSED


async def test_a_guest_that_was_paused_is_left_paused_by_minus_p_and_its_file_holds(bench: Bench) -> None:
    await bench.save(paused=True)
    assert (bench.domain.state, bench.domain.saved) == (State.PAUSED, None)
    with pytest.raises(IllegalState, match="twice"):
        await preview(bench.host.environment, RestoreWish(bench.file))
    await bench.job(destroy(bench.host.environment, "web"))
    await bench.restore()
    assert bench.guest.memory == MEMORY


async def test_a_transient_domain_is_forgotten_and_made_again(tmp_path: Path) -> None:
    host = SimulatedHost(tmp_path)
    await host.boot()
    await host.create()
    bench = Bench(host, tmp_path)
    uuid, epoch = bench.domain.uuid, bench.domain.epoch
    bench.guest.memory = MEMORY
    await bench.save()
    assert list(host.environment.domains) == []
    await bench.restore()
    assert (bench.domain.uuid, bench.domain.persistent) == (uuid, False)
    assert bench.domain.epoch > epoch
    assert bench.guest.memory == MEMORY
    await bench.job(destroy(host.environment, "web"))
    assert list(host.environment.domains) == []


async def test_another_host_that_has_the_disks_goes_on_with_it(bench: Bench, tmp_path: Path) -> None:
    await bench.save()
    other = SimulatedHost(tmp_path / "other", seed=2)
    other.storage, other.machine.name = bench.host.storage, "host2"
    await other.boot()
    there = Bench(other, tmp_path)
    await there.restore()
    assert (there.domain.state, there.domain.persistent) == (State.RUNNING, True)
    assert there.guest.memory == MEMORY
    there.write()
    with pytest.raises(IllegalState, match=r"xvda.*was written since"):
        await bench.restore()


async def test_disks_that_were_written_since_are_refused_unless_forced(bench: Bench) -> None:
    await bench.save()
    await bench.restore()
    bench.write()
    await bench.job(destroy(bench.host.environment, "web"))
    with pytest.raises(IllegalState, match=r"xvda \(default/root\) was written since") as caught:
        await bench.restore()
    assert "--force" in str(caught.value.hint)
    found = await preview(bench.host.environment, RestoreWish(bench.file, force=True))
    assert found.doubts == ("xvda (default/root) was written since",)
    assert bench.domain.state is State.OFF, "a preview does nothing"
    await bench.restore(force=True)
    assert bench.guest.memory == MEMORY


async def test_disks_of_which_it_can_t_be_told_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Block devices, say."""

    async def nothing(paths: object) -> dict[str, str]:
        return {}

    monkeypatch.setattr(bench.host.storage, "stamps", nothing, raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(type(bench.host.storage), "stamps", lambda self, paths: nothing(paths))
        await bench.save()
        with pytest.raises(IllegalState, match="can't be told"):
            await bench.restore()
        await bench.restore(force=True)


async def test_a_disk_written_between_the_question_and_the_start_is_noticed(bench: Bench) -> None:
    await bench.save()
    hooks = Strike(JobKind.RESTORE, "compare", "before", lambda job: bench.write())
    bench.host.engine._hooks = hooks
    job = await bench.restore(JobState.FAILED)
    assert hooks.struck
    assert job.error is not None
    assert "was written since" in job.error.message
    assert (bench.domain.state, bench.domain.saved) == (State.OFF, bench.file)
    await bench.host.assert_consistent()


async def test_a_guest_that_would_go_on_writing_gets_no_checkpoint_unless_forced(bench: Bench) -> None:
    with pytest.raises(IllegalState, match="go on writing") as caught:
        await bench.save(running=True)
    assert "wirt snapshot create web NAME --memory" in str(caught.value.hint)
    await bench.save(running=True, force=True)
    assert (bench.domain.state, bench.domain.saved) == (State.RUNNING, None)
    bench.write()
    await bench.job(destroy(bench.host.environment, "web"))
    with pytest.raises(IllegalState, match="was written since"):
        await bench.restore()


async def test_a_guest_without_such_disks_has_checkpoints(tmp_path: Path) -> None:
    host = SimulatedHost(tmp_path)
    await host.boot()
    bench = Bench(host, tmp_path)
    await bench.prepare('disk = ["default/root,,xvda,ro"]')
    await bench.save(running=True)
    assert bench.domain.state is State.RUNNING
    bench.guest.memory = b"later"
    await bench.job(destroy(host.environment, "web"))
    await bench.restore()
    assert bench.guest.memory == MEMORY


async def test_a_saved_domain_starts_anew_only_if_that_is_said(bench: Bench) -> None:
    await bench.save()
    with pytest.raises(IllegalState, match=r"was saved to .*web\.saved") as caught:
        await start(bench.host.environment, "web")
    assert "wirt restore" in str(caught.value.hint)
    await bench.job(start(bench.host.environment, "web", discard_saved=True))
    assert bench.domain.saved is None
    await bench.job(destroy(bench.host.environment, "web"))
    await bench.job(start(bench.host.environment, "web"))


async def test_a_file_that_is_gone_keeps_nobody_from_starting(bench: Bench) -> None:
    await bench.save()
    Path(bench.file).unlink()
    await bench.job(start(bench.host.environment, "web"))


async def test_a_file_that_is_another_s_by_now_keeps_nobody_from_starting(bench: Bench) -> None:
    await bench.save()
    await bench.host.create(name="db")
    await bench.job(save(bench.host.environment, "db", SaveWish(bench.file, force=True)))
    await bench.job(start(bench.host.environment, "web"))


@pytest.mark.parametrize("step", ["want-on", "disks", "launch"])
async def test_a_start_that_fails_leaves_the_domain_saved(bench: Bench, step: str) -> None:
    await bench.save()
    bench.host.engine._hooks = Strike(JobKind.START, step, "before", fail)
    await bench.job(start(bench.host.environment, "web", discard_saved=True), JobState.FAILED)
    assert bench.domain.saved == bench.file
    await bench.restore()


async def test_what_is_in_the_way_is_told_before_anything_is_done(bench: Bench, tmp_path: Path) -> None:
    environment = bench.host.environment
    with pytest.raises(BadInput, match="absolute"):
        await save(environment, "web", SaveWish("web.saved"))
    with pytest.raises(NotFound, match="no directory"):
        await save(environment, "web", SaveWish(str(tmp_path / "absent" / "x")))
    Path(bench.file).write_bytes(b"something")
    with pytest.raises(NameInUse, match="--force"):
        await bench.save()
    with pytest.raises(CorruptState, match="no saved guest"):
        await bench.restore()
    await bench.save(force=True)
    with pytest.raises(IllegalState, match="is off"):
        await bench.save()
    await undefine(environment, "web")
    await define(environment, Source(config("web"), "web.cfg", "/cfg"))
    with pytest.raises(NameInUse, match="called web"):
        await bench.restore()


async def test_another_configuration_may_name_other_paths_and_no_other_devices(bench: Bench) -> None:
    await bench.save()
    environment = bench.host.environment
    more = Source(config("web", DISK).replace("memory = 128", "memory = 256"), "more.cfg", "/cfg")
    with pytest.raises(IllegalState, match="memory was 128 MiB and is 256 MiB"):
        await restore(environment, RestoreWish(bench.file, more))
    with pytest.raises(IllegalState, match="disk xvda was virtio disk at"):
        await restore(environment, RestoreWish(bench.file, Source(config("web"), "less.cfg", "/cfg")))
    with pytest.raises(ConfigError, match=r"bad\.cfg"):
        await restore(environment, RestoreWish(bench.file, Source("name = ", "bad.cfg", "/cfg")))
    kernel = config("other", DISK).replace("/boot/vmlinuz", "/elsewhere/vmlinuz")
    await bench.job(restore(environment, RestoreWish(bench.file, Source(kernel, "other.cfg", "/cfg"))))
    assert bench.domain.config.kernel == "/elsewhere/vmlinuz"
    assert bench.guest.memory == MEMORY


async def test_a_domain_that_was_renamed_since_keeps_its_name(bench: Bench) -> None:
    await bench.save()
    await power.rename(bench.host.environment, "web", "shop")
    await bench.restore()
    assert bench.host.environment.domains.find("shop").state is State.RUNNING
    await bench.host.assert_consistent()


async def test_a_file_that_is_damaged_within_leaves_all_as_it_was(bench: Bench) -> None:
    await bench.save()
    data = bytearray(Path(bench.file).read_bytes())
    at = data.index(b"CHNK") + 50
    data[at] ^= 1
    Path(bench.file).write_bytes(data)
    job = await bench.restore(JobState.FAILED)
    assert job.error is not None
    assert "checksum" in job.error.message
    assert (bench.domain.state, bench.domain.saved) == (State.OFF, bench.file)
    await bench.host.assert_consistent()


@pytest.mark.parametrize("kept", ["hardware", "hypervisor", "text"])
async def test_a_header_that_lies_starts_nothing(bench: Bench, kept: str) -> None:
    """With all checksums right."""
    import json

    from tests.storage.test_save_files import forged

    await bench.save()
    data = Path(bench.file).read_bytes()
    length = int.from_bytes(data[12:16], "big")
    header = json.loads(data[48 : 48 + length])
    header[kept] = {"hardware": {"machine": "pdp-11"}, "hypervisor": "xen", "text": "name = ["}[kept]
    Path(bench.file).write_bytes(forged([], 0, json.dumps(header).encode()))
    with pytest.raises((IllegalState, ConfigError)):
        await bench.restore()
    for junk in (b"[]", b"{}", b"\xff", b"[" * 100_000, json.dumps({**header, "version": [1]}).encode()):
        with pytest.raises(CorruptState):
            read_guest(junk, "it")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["publish", "write", "end-run", "forget"])
@pytest.mark.parametrize("what", [fail, crash])
async def test_before_its_instant_the_guest_goes_on_and_after_it_the_file_does(
    bench: Bench, step: str, when: str, what: object
) -> None:
    hooks = Strike(JobKind.SAVE, step, when, what)  # type: ignore[arg-type]
    bench.host.engine._hooks = hooks
    await save(bench.host.environment, "web", SaveWish(bench.file))
    await bench.host.settle()
    assert hooks.struck
    if what is crash:
        await bench.host.crash()
        await bench.host.boot()
        await bench.host.settle()
    await bench.host.clock.advance(10)
    await bench.host.settle()
    await bench.host.assert_consistent()
    if step == "write" or (step == "publish" and what is fail):
        assert (bench.domain.state, bench.domain.saved, bench.files()) == (State.RUNNING, None, [])
        assert bench.guest.memory == MEMORY
        return
    assert bench.files() == ["web.saved"]
    assert bench.domain.saved == bench.file
    if bench.domain.state is not State.OFF:
        assert bench.domain.state is State.PAUSED, "nothing that could write its disks"
        await bench.job(destroy(bench.host.environment, "web"))
    await bench.restore()
    assert bench.guest.memory == MEMORY


@pytest.mark.parametrize("fault", [Refuse(), Silence(done=True), Die()])
@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.SAVE_MEMORY, Verb.DISKS])
async def test_a_hypervisor_that_fails_meanwhile_leaves_no_file(bench: Bench, verb: Verb, fault: Fault) -> None:
    bench.host.world.fail(verb, fault)
    await bench.save(JobState.FAILED)
    await bench.host.clock.advance(10)
    await bench.host.settle()
    assert bench.files() == []
    assert bench.domain.saved is None
    assert bench.domain.state is (State.OFF if isinstance(fault, Die) else State.RUNNING)
    await bench.host.assert_consistent()


@pytest.mark.parametrize("fault", [Silence(done=True), Die()])
@pytest.mark.parametrize("verb", [Verb.LAUNCH, Verb.RESUME])
async def test_a_hypervisor_that_fails_to_go_on_leaves_the_domain_saved(
    bench: Bench, verb: Verb, fault: Fault
) -> None:
    await bench.save()
    bench.host.world.fail(verb, fault)
    await bench.restore(JobState.FAILED)
    await bench.host.settle()
    assert (bench.domain.state, bench.domain.saved) == (State.OFF, bench.file)
    await bench.host.assert_consistent()
    await bench.restore()
    assert bench.guest.memory == MEMORY


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.SAVE_MEMORY, Verb.DISKS, Verb.DESTROY])
async def test_a_daemon_killed_by_any_verb_leaves_the_guest_or_the_file(
    bench: Bench, verb: Verb, done: bool
) -> None:
    bench.host.world.fail(verb, DaemonDies(done))
    await save(bench.host.environment, "web", SaveWish(bench.file))
    await bench.host.settle()
    await bench.host.crash()
    await bench.host.boot()
    await bench.host.settle()
    await bench.host.assert_consistent()
    if verb is Verb.DESTROY:
        assert (bench.domain.state, bench.files()) == (State.OFF, ["web.saved"])
        await bench.restore()
    assert (bench.domain.state, bench.domain.saved) == (State.RUNNING, None)
    assert bench.guest.memory == MEMORY
    assert bench.files() == (["web.saved"] if verb is Verb.DESTROY else [])


@pytest.mark.parametrize("old", [False, True])
async def test_a_file_that_somebody_takes_away_before_it_has_its_name_is_missed(bench: Bench, old: bool) -> None:
    """The one that is to be replaced is not taken for it."""
    if old:
        await bench.save()
        await bench.restore()
    before = bench.files()

    def take_away(job: Job) -> None:
        Path(job.arguments["part"]).unlink()

    bench.host.engine._hooks = Strike(JobKind.SAVE, "publish", "before", take_away)
    await bench.save(JobState.FAILED, force=old)
    assert (bench.domain.state, bench.domain.saved, bench.files()) == (State.RUNNING, None, before)
    assert bench.guest.memory == MEMORY


async def test_a_file_that_came_meanwhile_is_left_alone(bench: Bench) -> None:
    def come(job: Job) -> None:
        Path(bench.file).write_bytes(b"somebody's")

    bench.host.engine._hooks = Strike(JobKind.SAVE, "publish", "before", come)
    await bench.save(JobState.FAILED)
    assert Path(bench.file).read_bytes() == b"somebody's"
    assert (bench.domain.state, bench.files()) == (State.RUNNING, ["web.saved"])


@pytest.mark.parametrize("step", ["write", "publish"])
async def test_a_guest_goes_on_though_what_was_written_can_t_be_removed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    async def refuse(self: HostSaveFiles, path: str) -> None:
        raise Unavailable("the server is gone")

    engine, clock = bench.host.engine, bench.host.clock
    engine._hooks = Strike(JobKind.SAVE, step, "after", fail)
    with monkeypatch.context() as patch:
        patch.setattr(HostSaveFiles, "discard", refuse)
        saving = asyncio.create_task(bench.save(JobState.FAILED))
        while not any("waits: the server is gone" in job.message for job in engine.all()):
            await asyncio.sleep(0.001)
        assert bench.domain.state is State.RUNNING
        await bench.host.environment.hypervisor.pause(bench.domain.uuid)
        await bench.host.settle()
        await clock.advance(30.0)
        assert [bench.domain.state] == [State.PAUSED], "and is not woken again and again"
        await engine.cancel(next(job.id for job in engine.all() if job.kind == JobKind.SAVE))
        while not saving.done():
            await clock.advance(5.0)
        job = await saving
    assert job.error is not None
    assert "the server is gone" in str(job.error.hint)


async def test_a_cancelled_save_leaves_the_guest_running_and_no_file(bench: Bench) -> None:
    cancelling = []

    def cancel(job: Job) -> None:
        cancelling.append(asyncio.ensure_future(bench.host.engine.cancel(job.id)))

    for when in ("before", "after"):
        bench.host.engine._hooks = Strike(JobKind.SAVE, "write", when, cancel)
        await bench.save(JobState.CANCELLED)
        assert (bench.domain.state, bench.files()) == (State.RUNNING, [])
        await bench.host.assert_consistent()
    await bench.save()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["reserve", "launch", "resume"])
@pytest.mark.parametrize("what", [fail, crash])
async def test_a_restore_that_does_not_come_to_its_end_is_undone(
    bench: Bench, step: str, when: str, what: object
) -> None:
    await bench.save()
    hooks = Strike(JobKind.RESTORE, step, when, what)  # type: ignore[arg-type]
    bench.host.engine._hooks = hooks
    await restore(bench.host.environment, RestoreWish(bench.file))
    await bench.host.settle()
    assert hooks.struck
    if what is crash:
        await bench.host.crash()
        await bench.host.boot()
        await bench.host.settle()
    await bench.host.assert_consistent()
    assert (bench.domain.state, bench.domain.saved) == (State.OFF, bench.file)
    await bench.restore()
    assert bench.guest.memory == MEMORY
