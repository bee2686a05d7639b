"""Runs jobs: one at a time for each subject, in the order of arrival, journaled before they act."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar
from uuid import UUID

import structlog

from wirt.model.errors import HypervisorSilent, NotFound, StoreClosed, Unavailable, WirtError
from wirt.model.job import Job, JobError, JobState, Recovery, StepRecord, StepState
from wirt.operations import records
from wirt.operations.jobs.lanes import Lanes
from wirt.operations.jobs.step import JobKind, Operation, Step
from wirt.operations.jobs.uncut import bound, this_task, uncancel, whole
from wirt.ports.clock import Clock
from wirt.ports.store import Delete, Put, Store

E = TypeVar("E")
log = structlog.get_logger()

KEPT_JOBS = 100
"""Finished jobs that stay to be looked at: at least so many, ..."""
KEPT_S = 30.0
"""... and all that ended so lately, since whoever follows one may ask for it only every few seconds."""
PRUNED_AT_ONCE = 20
UNDO_WITHIN_S, UNDO_AGAIN_S = 600.0, 5.0
"""How long an undo waits for what does not answer, and how often it tries."""
MOST_WRITES = 100
"""In one transaction; a store takes 128."""


class Hooks:
    """Where a test kit stands between a step and its record. The product uses this one: it does nothing."""

    async def before(self, job: Job, step: str) -> None: ...

    async def after(self, job: Job, step: str) -> None: ...


class JobRun(Generic[E]):
    """A job under way: the context that its steps see (:class:`~wirt.operations.jobs.step.Context`)."""

    def __init__(self, engine: Engine[E], job: Job, *, recovered: bool = False) -> None:
        self._engine = engine
        self._job = job
        self.transient: dict[str, Any] = {}
        self.repeated = False
        self.recovered = recovered

    @property
    def environment(self) -> E:
        return self._engine.environment

    @property
    def job(self) -> Job:
        return self._job

    async def note(self, **notes: Any) -> None:
        await self.save(notes={**self._job.notes, **notes})

    def progress(self, message: str, share: float) -> None:
        self._job = replace(self._job, message=message, progress=min(1.0, max(0.0, share)))
        self._engine.tell(self._job)

    async def save(self, **changes: Any) -> None:
        """Into the journal first, then into the world's view."""
        job = replace(self._job, **changes)
        await self._engine.write(job)
        self._job = job
        self._engine.tell(job)

    def keep(self, **changes: Any) -> None:
        """Into the world's view only: the journal can't be written now."""
        self._job = replace(self._job, **changes)
        self._engine.tell(self._job)

    def mark(self, index: int, state: StepState) -> tuple[StepRecord, ...]:
        steps = list(self._job.steps)
        steps[index] = replace(steps[index], state=state)
        return tuple(steps)


class Engine(Generic[E]):
    """``tell`` is called with each change of each job, after it is in the journal."""

    def __init__(
        self,
        environment: E,
        store: Store,
        clock: Clock,
        operations: Mapping[JobKind, Operation[E]],
        new_id: Callable[[], str],
        tell: Callable[[Job], None],
        hooks: Hooks | None = None,
    ) -> None:
        self.environment = environment
        self._store = store
        self._clock = clock
        self._operations = operations
        self._new_id = new_id
        self._tell = tell
        self._hooks = hooks or Hooks()
        self._jobs: dict[str, Job] = {}
        self._lanes = Lanes()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._begun: dict[str, asyncio.Task[Any]] = {}
        self._cancelled: set[str] = set()
        self._given_up: set[str] = set()
        self._changed: dict[str, asyncio.Event] = {}
        self._abandoned = False

    def all(self) -> list[Job]:
        """Oldest first."""
        return sorted(self._jobs.values(), key=lambda job: job.created_at)

    def get(self, job_id: str) -> Job:
        try:
            return self._jobs[job_id]
        except KeyError:
            raise NotFound(f"there is no job {job_id}", hint="wirt jobs shows the latest") from None

    async def submit(self, kind: JobKind, subject: str, arguments: dict[str, Any]) -> Job:
        """Write the job down and queue it behind the others of the same domain. ``subject`` is what people
        call it; a domain is told by the ``uuid`` among the arguments, since names change."""
        operation = self._operations[kind]
        job = Job(
            id=self._new_id(),
            kind=kind,
            subject=subject,
            arguments=arguments,
            steps=_first_steps(operation),
            created_at=self._clock.now(),
        )
        await self.write(job)
        self.tell(job)
        self._lanes.put(_lane(job), lambda: self._start(job, operation, 0))
        return job

    def busy(self, uuid: UUID) -> bool:
        """Whether a job of this domain runs or waits."""
        return self._lanes.busy(str(uuid))

    async def wait(self, job_id: str) -> Job:
        """The job, once it has finished."""
        job = self.get(job_id)
        while not job.state.finished:
            job = await self.wait_change(job)
        return job

    async def wait_change(self, job: Job) -> Job:
        """The job, once it differs from ``job``."""
        while self.get(job.id) == job:
            await self._changed.setdefault(job.id, asyncio.Event()).wait()
        return self.get(job.id)

    async def cancel(self, job_id: str) -> Job:
        """Stop it where it is and undo what it did. One that is being undone waits no longer for what does not
        answer. A finished job stays as it is, and one that has come to a binding step goes on."""
        job = self.get(job_id)
        if job.state is JobState.UNDOING:
            self._given_up.add(job_id)
        if job.state in (JobState.QUEUED, JobState.RUNNING) and not self._binds(job):
            self._cancelled.add(job_id)
            # One that has not begun looks for itself; a task that never ran would never tell its end.
            task = self._begun.get(job_id)
            if task is not None:
                task.cancel()
        return self.get(job_id)

    async def recover(self) -> None:
        """Take up what a daemon before left: finish it or undo it, oldest first, then forget very old ones."""
        entries = (await self._store.list(records.JOBS)).entries
        self._jobs = {job.id: job for job in map(records.read_job, entries)}
        for job in self.all():
            if not job.state.finished:
                log.info("job recovered", job=job.id, kind=job.kind, subject=job.subject, state=str(job.state))
                if any(step.binding for step in self._operations[JobKind(job.kind)].steps):
                    # It may wait for another host, and nobody else must wait for that.
                    self._lanes.put(_lane(job), functools.partial(self._recover, job))
                else:
                    await self._recover(job)
        await self._prune()

    async def stop(self, grace_s: float) -> None:
        """No new job starts; what runs gets ``grace_s`` to end. The rest stays in the journal for the next
        daemon: nothing is undone now."""
        self._lanes.close()
        running = list(self._running.values())
        if running:
            await asyncio.wait(running, timeout=grace_s)
        await self.abandon()

    async def abandon(self) -> None:
        """Stop at once, as a crash would: nothing more is written or undone."""
        self._abandoned = True
        self._lanes.close()
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def write(self, job: Job) -> None:
        await self._store.commit(Put(records.job_key(job.id), records.write_job(job)))

    def tell(self, job: Job) -> None:
        self._jobs[job.id] = job
        changed = self._changed.pop(job.id, None)
        if changed is not None:
            changed.set()
        self._tell(job)

    async def _recover(self, job: Job) -> None:
        operation = self._operations[JobKind(job.kind)]
        first = next((i for i, s in enumerate(job.steps) if s.state is not StepState.DONE), len(job.steps))
        go_on = operation.recovery is Recovery.FINISH and job.state is not JobState.UNDOING
        if go_on or first == len(job.steps):
            await self._start(job, operation, first, recovered=True)
        else:
            error = job.error or JobError("interrupted", "wirtd ended in the middle; it was undone")
            run = JobRun(self, job, recovered=True)
            task = asyncio.create_task(self._take_back(run, operation, JobState.FAILED, error))
            await self._follow(job.id, task)

    async def _start(self, job: Job, operation: Operation[E], first: int, *, recovered: bool = False) -> None:
        run = JobRun(self, job, recovered=recovered)
        await self._follow(job.id, asyncio.create_task(self._run(run, operation, first)))

    async def _follow(self, job_id: str, task: asyncio.Task[None]) -> None:
        self._running[job_id] = task
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        finally:
            self._running.pop(job_id, None)
            self._begun.pop(job_id, None)
            self._cancelled.discard(job_id)
            self._given_up.discard(job_id)

    async def _run(self, run: JobRun[E], operation: Operation[E], first: int) -> None:
        try:
            if run.job.id in self._cancelled:
                raise asyncio.CancelledError
            self._begun[run.job.id] = this_task()
            for index in range(first, len(operation.steps)):
                await self._do(run, operation.steps[index], index)
            steps = tuple(replace(step, state=StepState.DONE) for step in run.job.steps)
            await self._finish(run, JobState.DONE, None, steps)
        except asyncio.CancelledError:
            if self._abandoned:
                raise
            uncancel()
            error = JobError("job-cancelled", "it was cancelled, and undone")
            await self._take_back(run, operation, JobState.CANCELLED, error)
        except StoreClosed:
            raise
        except Exception as error:
            await self._take_back(run, operation, JobState.FAILED, _job_error(error))

    async def _do(self, run: JobRun[E], step: Step[E], index: int) -> None:
        """One commit says that the step before is done and that this one begins; of the first one the job's own
        first record said so."""
        begun = run.recovered and run.job.steps[index].state is StepState.DOING
        done = tuple(replace(record, state=StepState.DONE) for record in run.job.steps[:index])
        doing = (replace(run.job.steps[index], state=StepState.DOING),)
        share = index / len(run.job.steps)
        changes = {
            "state": JobState.RUNNING,
            "steps": done + doing + run.job.steps[index + 1 :],
            "message": step.name,
            "progress": max(run.job.progress, share),
        }
        if index > 0:
            await run.save(**changes)
        else:
            run.keep(**changes)
        run.repeated = begun
        await self._hooks.before(run.job, step.name)
        if step.binding:
            await bound(step.do(run), lambda: self._abandoned)
        else:
            await (step.do(run) if step.interruptible else whole(step.do(run)))
        await self._hooks.after(run.job, step.name)

    def _binds(self, job: Job) -> bool:
        begun = (step.name for step in job.steps if step.state is not StepState.WAITING)
        binding = {step.name for step in self._operations[JobKind(job.kind)].steps if step.binding}
        return any(name in binding for name in begun)

    async def _take_back(self, run: JobRun[E], operation: Operation[E], end: JobState, error: JobError) -> None:
        """Undo from the last step begun back to the first, or to one that is final. A full disk must not stop
        an undo: then the journal lags behind, and a later daemon repeats what it finds."""
        undone = True
        run.keep(state=JobState.UNDOING, error=error)  # at once: a second cancellation must not cut the undoing
        await self._try_save(run, state=JobState.UNDOING, error=error)
        for index in reversed(range(len(operation.steps))):
            state = run.job.steps[index].state
            if state in (StepState.WAITING, StepState.UNDONE):
                continue
            step = operation.steps[index]
            if step.final and state is StepState.DONE:
                undone = False
                break
            try:
                await self._undo(run, step)
                await self._try_save(run, steps=run.mark(index, StepState.UNDONE))
            except Exception as failure:
                if self._abandoned:
                    raise
                undone = False
                log.exception("undo failed", job=run.job.id, step=step.name)
                hint = f"undoing {step.name} failed: {failure}"
                error = replace(error, hint=f"{error.hint}; {hint}" if error.hint else hint)
                await self._try_save(run, steps=run.mark(index, StepState.UNDO_FAILED))
        if end is JobState.CANCELLED and not undone:
            error = replace(error, message="it was cancelled where it could no longer be undone wholly")
        await self._finish(run, end, error, run.job.steps)

    async def _undo(self, run: JobRun[E], step: Step[E]) -> None:
        """A server that has gone may come back, and so a QEMU that waits for it. Until then what the records say
        and what a guest has may differ, so the domain's other jobs wait too, for a while. Not at a daemon's start:
        all wait for that."""
        deadline = self._clock.monotonic() + (0.0 if run.recovered else UNDO_WITHIN_S)
        while True:
            try:
                return await step.undo(run)
            except (Unavailable, HypervisorSilent) as error:
                if self._clock.monotonic() >= deadline or run.job.id in self._given_up:
                    raise
                run.progress(f"undoing {step.name} waits: {error.message}", run.job.progress)
                await self._clock.sleep(UNDO_AGAIN_S)

    async def _finish(
        self, run: JobRun[E], state: JobState, error: JobError | None, steps: tuple[StepRecord, ...]
    ) -> None:
        progress = 1.0 if state is JobState.DONE else run.job.progress
        changes = {"finished_at": self._clock.now(), "state": state, "error": error, "steps": steps}
        await self._try_save(run, progress=progress, **changes)
        await self._prune()

    async def _try_save(self, run: JobRun[E], **changes: Any) -> None:
        try:
            await run.save(**changes)
        except StoreClosed:
            raise
        except WirtError as error:
            log.error("journal not written", job=run.job.id, error=str(error))
            run.keep(**changes)

    async def _prune(self) -> None:
        """Forget the oldest, a batch at a time."""
        if len(self._jobs) < KEPT_JOBS + PRUNED_AT_ONCE:
            return
        ended = sorted((job.finished_at or 0.0, job.id) for job in self._jobs.values() if job.state.finished)
        before = self._clock.now() - KEPT_S
        old = [self._jobs[job_id] for finished_at, job_id in ended[:-KEPT_JOBS] if finished_at < before]
        if len(old) < PRUNED_AT_ONCE:
            return
        with contextlib.suppress(WirtError):
            await self._store.commit(*(Delete(records.job_key(job.id)) for job in old[:MOST_WRITES]))
            for job in old[:MOST_WRITES]:
                self._jobs.pop(job.id, None)


def _first_steps(operation: Operation[E]) -> tuple[StepRecord, ...]:
    """The first one counts as begun from the start: an undo bears what never began, and it saves a commit."""
    first, *others = (StepRecord(step.name) for step in operation.steps)
    return (replace(first, state=StepState.DOING), *others)


def _lane(job: Job) -> str:
    return str(job.arguments.get("uuid", job.subject))


def _job_error(error: Exception) -> JobError:
    if isinstance(error, WirtError):
        return JobError(error.code, error.message, error.hint)
    log.exception("a step failed in a way that wirt does not know")
    return JobError("internal", f"{type(error).__name__}: {error}", "this is a fault in wirt: see wirtd.log")
