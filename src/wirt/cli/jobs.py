"""``wirt jobs``: the long operations, what they are doing, and how to stop one."""

from __future__ import annotations

import time

from wirt.cli.text import printable, printable_lines, table
from wirt.client.decode import decode, decode_list
from wirt.client.errors import ApiProblem
from wirt.wire.v1 import Job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session

HEADER = ("ID", "Kind", "Subject", "State", "Done", "Started", "Message")


def options_jobs(parser: Parser) -> None:
    parser.epilog = "A job that is cancelled undoes what it has done; --cancel waits until it has."
    parser.add_argument("job", metavar="ID", nargs="?", help="show this one, with its steps")
    parser.add_argument("--cancel", metavar="ID", help="cancel this one")


def run_jobs(args: Namespace, session: Session) -> int:
    from wirt.cli.arguments import usage_error

    if args.cancel is not None:
        if args.job is not None:
            usage_error("--cancel takes one ID")
        return _cancel(args.cancel, session)
    document = session.api.get("/v1/jobs") if args.job is None else session.api.job(args.job)
    jobs = decode_list(Job, document, "jobs") if args.job is None else [decode(Job, document)]
    if session.json:
        session.document(document)
    else:
        session.write(table(HEADER, [_row(job) for job in jobs]))
        if args.job is not None:
            session.write(_details(jobs[0]))
    return 0


def _cancel(job: str, session: Session) -> int:
    from wirt.client.jobs import last

    document = last(session.api, session.api.cancel_job(job))
    end = decode(Job, document)
    if end.state != "cancelled":
        hint = end.error.message if end.error is not None else None
        raise ApiProblem(f"job {job} is {end.state}, not cancelled", code="conflict", status=409, hint=hint)
    if session.json:
        session.document(document)
    return 0


def _row(job: Job) -> tuple[str, ...]:
    started = time.strftime("%H:%M:%S", time.localtime(job.created_at))
    message = job.error.message.split("\n")[0] if job.error is not None else job.message
    return (job.id, job.kind, job.subject, job.state, f"{job.progress:.0%}", started, message)


def _details(job: Job) -> str:
    lines = [f"  {printable(step.state):<10} {printable(step.name)}\n" for step in job.steps]
    if job.error is not None:
        lines.append(printable_lines(f"error: {job.error.message}") + "\n")
        if job.error.hint:
            lines.append(printable_lines(f"  hint: {job.error.hint}") + "\n")
    return "".join(lines)
