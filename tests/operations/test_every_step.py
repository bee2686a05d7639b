"""Every step of every operation is failed, crashed and cancelled, before and after it acts; afterwards the host
is as if nothing had been, or as if all had, and the same verb works."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost, Strike, crash, fail

from wirt.model.job import Job, JobState
from wirt.model.lifecycle import State
from wirt.operations.catalogue import OPERATIONS
from wirt.operations.destroy import destroy
from wirt.operations.jobs.step import JobKind

from . import every_step_actions as do
from .every_step_actions import Action


@dataclass(frozen=True)
class Case:
    """``prepare`` sets the stage, ``act`` sets the operation going, ``ends_running`` is what success means."""

    kind: JobKind
    prepare: Action
    act: Action
    ends_running: bool


CASES = (
    Case(JobKind.CREATE, do.nothing, do.submit_create, True),
    Case(JobKind.START, do.define_web, do.start_web, True),
    Case(JobKind.DESTROY, do.create_web, do.destroy_web, False),
    Case(JobKind.END, do.create_web, do.power_off, False),
    Case(JobKind.RESTART, do.with_action('on_poweroff = "restart"'), do.power_off, True),
    Case(JobKind.RENAME_RESTART, do.with_action('on_poweroff = "rename-restart"'), do.power_off, True),
    Case(JobKind.DUMP_END, do.with_action('on_crash = "coredump-destroy"'), do.panic, False),
    Case(JobKind.DUMP_RESTART, do.with_action('on_crash = "coredump-restart"'), do.panic, True),
    Case(JobKind.SOFT_RESET, do.with_action('on_crash = "soft-reset"'), do.panic, True),
    Case(JobKind.VIF_ATTACH, do.two_cards, do.attach_card, True),
    Case(JobKind.VIF_DETACH, do.two_cards, do.detach_card, True),
    Case(JobKind.VIF_LINK, do.two_cards, do.pull_cable, True),
    Case(JobKind.VIF_RATE, do.two_cards, do.limit_card, True),
    Case(JobKind.NETWORK_CREATE, do.nothing, do.make_network, False),
    Case(JobKind.NETWORK_DESTROY, do.a_network, do.destroy_network, False),
    Case(JobKind.POOL_CREATE, do.nothing, do.make_pool, False),
    Case(JobKind.POOL_DESTROY, do.a_full_pool, do.destroy_pool, False),
    Case(JobKind.VOLUME_CREATE, do.nothing, do.make_volume, False),
    Case(JobKind.VOLUME_RESIZE, do.a_volume, do.grow_volume, False),
    Case(JobKind.VOLUME_CLONE, do.a_volume, do.clone_volume, False),
    Case(JobKind.VOLUME_COPY, do.a_volume, do.copy_volume, False),
    Case(JobKind.VOLUME_MOVE, do.a_volume_of_a_domain, do.move_volume, False),
    Case(JobKind.DISK_MOVE, do.a_domain_on_a_volume, do.move_disk, True),
    Case(JobKind.DISK_MOVE, do.a_domain_and_a_device, do.move_onto_device, True),
    Case(JobKind.DISK_MOVE, do.a_domain_on_a_device, do.move_disk, True),
    Case(JobKind.DISK_QOS, do.a_domain_on_a_volume, do.limit_disk, True),
    Case(JobKind.MEM_SET, do.with_room, do.give_memory, True),
    Case(JobKind.VCPU_SET, do.with_room_for_vcpus, do.give_vcpus, True),
    Case(JobKind.QOS, do.a_class_and_a_domain, do.name_class, True),
    Case(JobKind.QOS_CLASS, do.a_running_web, do.define_class, True),
    Case(JobKind.QOS_CLASS_DESTROY, do.a_class_with_a_domain, do.destroy_class, True),
    Case(JobKind.VOLUME_COPY, do.a_file_and_a_device, do.copy_onto_device, False),
    Case(JobKind.VOLUME_IMPORT, do.a_foreign_file, do.import_volume, False),
    Case(JobKind.VOLUME_EXPORT, do.a_volume, do.export_volume, False),
    Case(JobKind.VOLUME_DESTROY, do.a_volume, do.destroy_volume, False),
    Case(JobKind.VOLUME_RESIZE, do.a_running_web, do.grow_running_disk, True),
    Case(JobKind.SNAPSHOT_CREATE, do.a_running_web, do.take_snapshot, True),
    Case(JobKind.SNAPSHOT_REVERT, do.a_snapshot_of_what_is_off, do.revert_to_snapshot, False),
    Case(JobKind.SNAPSHOT_RESUME, do.a_snapshot_with_memory, do.resume_from_snapshot, True),
    Case(JobKind.SNAPSHOT_DELETE, do.a_snapshot_of_it, do.delete_snapshot, True),
    Case(JobKind.SAVE, do.a_guest_with_a_disk, do.save_guest, False),
    Case(JobKind.CHECKPOINT, do.a_domain_on_a_volume, do.checkpoint_guest, True),
    Case(JobKind.RESTORE, do.a_saved_guest, do.restore_guest, False),
    Case(JobKind.REFRESH, do.a_domain_on_a_volume, do.refresh_web, True),
    Case(JobKind.BOOTSTRAP, do.nothing, do.bootstrap_volume, False),
    Case(JobKind.TEMPLATE_CREATE, do.a_volume_of_a_domain, do.make_template, False),
    Case(JobKind.TEMPLATE_TO_DOMAIN, do.a_template, do.template_to_domain, False),
    Case(JobKind.TEMPLATE_DESTROY, do.a_template, do.destroy_template, False),
    Case(JobKind.CLONE, do.a_template, do.clone_template, False),
    Case(JobKind.CLONE, do.a_volume_of_a_domain, do.copy_domain, False),
    Case(JobKind.FORK, do.a_running_web, do.fork_guest, True),
    Case(JobKind.IMPORT, do.an_appliance, do.import_appliance, False),
    Case(JobKind.EXPORT, do.a_volume_of_a_domain, do.export_domain, False),
    Case(JobKind.BACKUP, do.a_guest_with_a_disk, do.back_up, False),
    Case(JobKind.BACKUP_RESTORE, do.a_backup, do.restore_backup, False),
    Case(JobKind.BACKUP_VERIFY, do.a_backup, do.verify_backup, False),
    Case(JobKind.BACKUP_BOOT, do.a_backup, do.boot_backup, False),
    Case(JobKind.BACKUP_PRUNE, do.two_backups, do.prune_backups, False),
)

STEPS = [(case, step.name) for case in CASES for step in OPERATIONS[case.kind].steps]
IDS = [f"{case.kind}-{step}" for case, step in STEPS]


def jobs_of(host: SimulatedHost, kind: JobKind) -> list[Job]:
    return [job for job in host.engine.all() if job.kind == kind]


def test_every_operation_that_there_is_has_a_case() -> None:
    of_two_hosts = {  # test_moves.py, test_moves_offline.py
        JobKind.MIGRATE,
        JobKind.RECEIVE,
        JobKind.MIGRATE_OFFLINE,
        JobKind.RECEIVE_OFFLINE,
    }
    assert {case.kind for case in CASES} == set(OPERATIONS) - {JobKind.BUILD_IMAGE} - of_two_hosts


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
