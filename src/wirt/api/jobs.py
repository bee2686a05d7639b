"""The answer of a route that set a job going."""

from __future__ import annotations

from fastapi import Response

from wirt.api import convert
from wirt.api.reply import reply
from wirt.model.job import Job
from wirt.operations.environment import Environment


async def job_reply(environment: Environment, job: Job, wait: bool) -> Response:
    """202 while it is under way; with ``wait`` once it has ended."""
    if wait:
        job = await environment.jobs.wait(job.id)
    return reply(convert.job(job), 200 if job.state.finished else 202)
