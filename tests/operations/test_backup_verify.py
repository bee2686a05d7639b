"""Backups that are booted to be sure of them: the copy meets nobody and is gone again, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost, Strike
from tests.operations.test_backup import back_up, finished, running

from wirt.model.errors import BadInput
from wirt.model.job import Job, JobState
from wirt.operations import backup_restore, backup_verify
from wirt.operations.backup_restore import RESTORE
from wirt.operations.backup_verify import BOOT
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import Operation
from wirt.plan import backup_manifest
from wirt.plan.backup import Backup


@pytest.fixture
async def host(tmp_path: Path) -> SimulatedHost:
    made = SimulatedHost(tmp_path)
    await made.boot()
    return made


async def boot_it(host: SimulatedHost, made: Backup) -> Job:
    return await backup_verify.boot(host.environment, made.id, "/")


async def restore_it(host: SimulatedHost, made: Backup) -> Job:
    return await backup_restore.restore(host.environment, made.id, "/", name="db2")


STEPS = [(op, act, step.name) for op, act in ((BOOT, boot_it), (RESTORE, restore_it)) for step in op.steps]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("operation", "act", "step"), STEPS, ids=[f"{op.kind}-{step}" for op, _, step in STEPS])
async def test_one_that_is_cancelled_leaves_nothing(
    tmp_path: Path,
    operation: Operation[Environment],
    act: Callable[[SimulatedHost, Backup], Awaitable[Job]],
    step: str,
    when: str,
) -> None:
    host = SimulatedHost(tmp_path)
    waiting: list[asyncio.Future[Job]] = []

    def cancel(job: Job) -> None:
        waiting.append(asyncio.ensure_future(host.engine.cancel(job.id)))

    await host.boot(Strike(operation.kind, step, when, cancel))
    await running(host)
    made = await back_up(host)
    job = await act(host, made)
    await host.settle()
    assert host.engine.get(job.id).state is JobState.CANCELLED
    await host.assert_consistent()
    assert [domain.name for domain in host.environment.domains] == ["db"]
    assert {name for medium in host.storage.media.values() for name in medium.volumes} == {"a", "b"}
    await host.stop()


async def test_a_copy_that_comes_up_meets_nobody_and_is_gone_again(tmp_path: Path) -> None:
    host = SimulatedHost(tmp_path)
    await host.boot()
    await running(host)
    made = await back_up(host)
    seen: list[tuple[str, int]] = []

    def look(guest: object) -> None:
        seen.append((guest.name, len(guest.plan.nics)))  # type: ignore[attr-defined]
        guest.print(b"\r\ndb login: ")  # type: ignore[attr-defined]

    host.world.on_boot = look
    result = (await finished(host, await backup_verify.boot(host.environment, made.id, "/"))).notes["result"]
    assert result["seen"] == "login:"
    assert seen[-1][0].startswith("verify-")
    assert seen[-1][1] == 0
    assert [domain.name for domain in host.environment.domains] == ["db"]
    await host.assert_consistent()


async def test_a_copy_has_no_disk_of_the_host_that_a_backup_names(host: SimulatedHost) -> None:
    await running(host)
    made = await back_up(host)
    evil = replace(
        made,
        id="evil",
        uuid=str(host.new_uuid()),
        config=made.config.replace("]\n", ', "/dev/sda,raw,xvdc,rw", "/etc/shadow,raw,xvdd,ro"]\n'),
    )
    assert "/etc/shadow" in evil.config
    Path(host.place, "backups", "evil.json").write_bytes(backup_manifest.write(evil))
    targets: list[str | None] = []

    def look(guest: object) -> None:
        targets.extend(each.path for each in guest.plan.disks)  # type: ignore[attr-defined]
        guest.print(b"login: ")  # type: ignore[attr-defined]

    host.world.on_boot = look
    await finished(host, await backup_verify.boot(host.environment, "evil", "/", source=str(host.place)))
    assert len(targets) == 2
    assert all(str(each).startswith("/fake/") for each in targets)


async def test_a_copy_that_never_comes_up_is_told_with_its_last_words_and_is_gone(host: SimulatedHost) -> None:
    await running(host)
    made = await back_up(host)
    host.world.on_boot = lambda guest: guest.print(b"Kernel panic - not syncing\r\n")
    job = await backup_verify.boot(host.environment, made.id, "/", timeout_s=30)
    for _ in range(4):
        await host.settle()
        await host.clock.advance(10)
    job = await finished(host, job, JobState.FAILED)
    assert job.error is not None
    assert "Kernel panic" in job.error.message
    await host.settle()
    await host.assert_consistent()


async def test_an_expression_that_is_none_is_refused(host: SimulatedHost) -> None:
    await running(host)
    made = await back_up(host)
    with pytest.raises(BadInput, match="regular expression"):
        await backup_verify.boot(host.environment, made.id, "/", expect="(")
