"""Following a job to its end, and taking it back."""

from __future__ import annotations

import time

from wirt.client.decode import decode
from wirt.client.errors import ApiProblem
from wirt.wire.v1 import Job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirt.client.api import Api
    from wirt.client.errors import Json

FINISHED = frozenset({"done", "failed", "cancelled"})
_PAUSE_S = 0.1


def follow(api: Api, document: Json) -> Iterator[Json]:
    """``document`` (a ``Job``) and each later state of it; the last one is finished.

    A job never ends by a deadline of ours: it is the server's, and goes on whether we look or not.
    """
    yield document
    job = decode(Job, document)
    while job.state not in FINISHED:
        before, document = document, api.job_change(job.id, job.progress)
        if document == before:
            time.sleep(_PAUSE_S)  # Should the server answer without waiting, it shall not be drowned.
        job = decode(Job, document)
        yield document


def last(api: Api, document: Json) -> Json:
    """``document`` (a ``Job``) as it is when it has finished."""
    end = document
    for end in follow(api, document):  # noqa: B007
        pass
    return end


def cancel(api: Api, job: str) -> Json:
    """Asks for ``job`` to be undone; its state, which is as it was if it had ended before."""
    try:
        return api.cancel_job(job)
    except ApiProblem as problem:
        if problem.status != 409:
            raise
        return api.job(job)


def failure(document: Json) -> ApiProblem | None:
    """Why a finished ``Job`` did not do what it should, or ``None`` if it did."""
    job = decode(Job, document)
    if job.state == "done":
        return None
    if job.error is not None:
        return ApiProblem(job.error.message, code=job.error.code, status=500, hint=job.error.hint)
    if job.state == "cancelled":
        return ApiProblem(f"{job.kind} of {job.subject} was cancelled", code="job-cancelled", status=409)
    return ApiProblem(f"{job.kind} of {job.subject} failed", code="error", status=500)
