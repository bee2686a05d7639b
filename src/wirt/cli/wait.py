"""``wirt wait``: returns when a domain has got where it should be."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session

STATES = ("off", "running", "paused", "shutdown", "crashed")


def options_wait(parser: Parser) -> None:
    from wirt.cli.arguments import seconds

    parser.epilog = "example:\n  wirt wait web --until running --timeout 60 && wirt console web"
    parser.add_argument("domain", metavar="DOMAIN", help="name, ID or UUID")
    parser.add_argument("--until", metavar="STATE", choices=STATES, default="off", help="|".join(STATES))
    parser.add_argument("--timeout", metavar="S", type=seconds, help="give up after so many seconds (exit code 1)")


def run_wait(args: Namespace, session: Session) -> int:
    from wirt.cli.waiting import deadline_of, until

    domain = until(session.api, args.domain, args.until, deadline_of(args.timeout), f"is not {args.until}")
    if session.json:
        session.document(domain)
    return 0
