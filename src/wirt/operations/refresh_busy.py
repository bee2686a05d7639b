"""Whether a guest is on its way from one run to the next, for those who would act on it."""

from __future__ import annotations

from wirt.model.domain import Domain, Incarnation
from wirt.model.job import JobState
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind

FIRST = "first-domid"
"""In an incarnation's notes, once it was refreshed: the domid under which its guest was started."""


def first_domid(run: Incarnation) -> str:
    return run.notes.get(FIRST, str(run.domid))


async def at_rest(environment: Environment, domain: Domain) -> None:
    """Returns when no refresh of ``domain`` is at work, which takes a second or two: what is done to its guest
    meanwhile may reach the run that is about to end."""
    for job in environment.jobs.all():
        mine = job.kind == JobKind.REFRESH and job.arguments["uuid"] == str(domain.uuid)
        if mine and job.state is not JobState.QUEUED:
            await environment.jobs.wait(job.id)
