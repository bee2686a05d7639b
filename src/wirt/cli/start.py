"""``wirt start``: a domain that was defined runs again."""

from __future__ import annotations

from wirt.cli.arguments import usage_error
from wirt.cli.following import run_job
from wirt.cli.text import printable
from wirt.client.decode import decode
from wirt.wire.v1 import Job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session


def options_start(parser: Parser) -> None:
    parser.epilog = "wirt list --all shows the domains that are off; wirt define makes one."
    parser.add_argument("domain", metavar="DOMAIN", help="name or UUID")
    parser.add_argument("-p", "--paused", action="store_true", help="leave it paused")
    parser.add_argument(
        "--discard-saved", action="store_true", help="begin anew, though it was saved and could be restored"
    )
    parser.add_argument("-c", "--console", action="store_true", help="be at its console (Ctrl-] leaves)")


def run_start(args: Namespace, session: Session) -> int:
    if args.console and session.json:
        usage_error("-c shows a console, and a console is not JSON")
    body = {"paused": args.paused, **({"discard_saved": True} if args.discard_saved else {})}
    document = run_job(session, lambda: session.api.act(args.domain, "start", body))
    job = decode(Job, document)
    name = str(job.result.get("name") or job.subject)
    if session.json:
        session.document(document)
    elif not args.console:
        state = "is paused" if args.paused else "is running"
        session.write(printable(f"{name} {state} as domain {job.result.get('domid', '?')}") + "\n")
    if args.console:
        from wirt.cli.console import attach

        attach(session, str(job.result.get("uuid") or name), name=name, history=True)
    return 0
