"""Every step of every operation is failed, crashed and cancelled, before and after it acts; afterwards the host
is as if nothing had been, or as if all had, and the same verb works."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost, Strike, config, crash, fail

from wirt.model.job import Job, JobState
from wirt.model.lifecycle import State
from wirt.operations.catalogue import OPERATIONS
from wirt.operations.create import Source, define
from wirt.operations.destroy import destroy
from wirt.operations.jobs.step import JobKind
from wirt.operations.start import start

Action = Callable[[SimulatedHost], Awaitable[object]]


async def nothing(host: SimulatedHost) -> None:
    pass


async def create_web(host: SimulatedHost) -> None:
    await host.create()


def with_action(text: str) -> Action:
    async def create_with(host: SimulatedHost) -> None:
        await host.create(text)

    return create_with


async def define_web(host: SimulatedHost) -> None:
    await define(host.environment, Source(config(), "web.cfg", "/cfg"))


async def start_web(host: SimulatedHost) -> None:
    await start(host.environment, "web")


async def destroy_web(host: SimulatedHost) -> None:
    await destroy(host.environment, "web")


async def power_off(host: SimulatedHost) -> None:
    host.world.guest(host.environment.domains.find("web").uuid).power_off()


async def panic(host: SimulatedHost) -> None:
    host.world.guest(host.environment.domains.find("web").uuid).panic()


async def submit_create(host: SimulatedHost) -> None:
    from wirt.operations.create import create

    await create(host.environment, Source(config(), "web.cfg", "/cfg"))


@dataclass(frozen=True)
class Case:
    """``prepare`` sets the stage, ``act`` sets the operation going, ``ends_running`` is what success means."""

    kind: JobKind
    prepare: Action
    act: Action
    ends_running: bool


CASES = (
    Case(JobKind.CREATE, nothing, submit_create, True),
    Case(JobKind.START, define_web, start_web, True),
    Case(JobKind.DESTROY, create_web, destroy_web, False),
    Case(JobKind.END, create_web, power_off, False),
    Case(JobKind.RESTART, with_action('on_poweroff = "restart"'), power_off, True),
    Case(JobKind.RENAME_RESTART, with_action('on_poweroff = "rename-restart"'), power_off, True),
    Case(JobKind.DUMP_END, with_action('on_crash = "coredump-destroy"'), panic, False),
    Case(JobKind.DUMP_RESTART, with_action('on_crash = "coredump-restart"'), panic, True),
    Case(JobKind.SOFT_RESET, with_action('on_crash = "soft-reset"'), panic, True),
)

STEPS = [(case, step.name) for case in CASES for step in OPERATIONS[case.kind].steps]
IDS = [f"{case.kind}-{step}" for case, step in STEPS]


def jobs_of(host: SimulatedHost, kind: JobKind) -> list[Job]:
    return [job for job in host.engine.all() if job.kind == kind]


def test_every_operation_that_there_is_has_a_case() -> None:
    assert {case.kind for case in CASES} == set(OPERATIONS) - {JobKind.BUILD_IMAGE}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("case", "step"), STEPS, ids=IDS)
async def test_a_failed_step_leaves_nothing_half_done(tmp_path: Path, case: Case, step: str, when: str) -> None:
    host = SimulatedHost(tmp_path)
    hooks = Strike(case.kind, step, when, fail)
    await host.boot(hooks)
    await case.prepare(host)
    await case.act(host)
    await host.settle()
    assert hooks.struck
    assert jobs_of(host, case.kind)[0].state is JobState.FAILED
    assert "struck" in str(jobs_of(host, case.kind)[0].error)
    await host.clock.advance(10)
    await host.settle()
    await host.assert_consistent()
    if case.kind in (JobKind.CREATE, JobKind.START):
        await case.act(host)
        await host.settle()
        assert host.environment.domains.find("web").state is State.RUNNING
    await clean_up(host)
    await host.stop()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("case", "step"), STEPS, ids=IDS)
async def test_a_crash_in_a_step_is_finished_or_undone_by_the_next_daemon(
    tmp_path: Path, case: Case, step: str, when: str
) -> None:
    host = SimulatedHost(tmp_path)
    hooks = Strike(case.kind, step, when, crash)
    await host.boot(hooks)
    await case.prepare(host)
    await case.act(host)
    await host.settle()
    assert hooks.struck
    await host.crash()
    await host.boot()
    await host.settle()
    await host.assert_consistent()
    domain = host.environment.domains.named("web")
    if case.kind in (JobKind.CREATE, JobKind.START):
        assert domain is None or domain.state is State.OFF, "an interrupted start is undone"
        await case.act(host)
        await host.settle()
        assert host.environment.domains.find("web").state is State.RUNNING
    elif case.ends_running:
        assert domain is not None
        assert domain.state is State.RUNNING, "what the guest's end demands is finished"
    else:
        assert domain is None
    await host.stop()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("case", "step"), [(c, s) for c, s in STEPS if c.kind in (JobKind.CREATE, JobKind.START)])
async def test_a_cancelled_start_leaves_nothing(tmp_path: Path, case: Case, step: str, when: str) -> None:
    host = SimulatedHost(tmp_path)
    cancelling = []

    def cancel(job: Job) -> None:
        import asyncio

        cancelling.append(asyncio.ensure_future(host.engine.cancel(job.id)))

    await host.boot(Strike(case.kind, step, when, cancel))
    await case.prepare(host)
    await case.act(host)
    await host.settle()
    assert jobs_of(host, case.kind)[0].state is JobState.CANCELLED
    await host.assert_consistent()
    assert host.live_guests() == []
    await case.act(host)
    await host.settle()
    assert host.environment.domains.find("web").state is State.RUNNING
    await host.stop()


async def clean_up(host: SimulatedHost) -> None:
    """Whatever a failure left listed can still be destroyed, and then all is as before."""
    for domain in list(host.environment.domains):
        if domain.incarnation is not None:
            await destroy(host.environment, str(domain.uuid))
    await host.settle()
    assert host.live_guests() == []
    await host.assert_consistent()
