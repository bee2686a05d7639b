"""``wirt events``: what happens on the host, line by line, until Ctrl-C."""

from __future__ import annotations

import sys
import time

from wirt.cli.text import printable
from wirt.client.decode import decode
from wirt.wire.v1 import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session


def options_events(parser: Parser) -> None:
    parser.epilog = "With -o json each line is one JSON document; its seq is what --after takes."
    parser.add_argument("--after", metavar="N", type=int, help="those after event number N (default: from now on)")


def run_events(args: Namespace, session: Session) -> int:
    from wirt.client.streams import events

    for document in events(session.api, args.after):
        if session.json:
            session.json_line(document)
        else:
            session.write(format_event(decode(Event, document)))
            sys.stdout.flush()
    return 0


def format_event(event: Event) -> str:
    """``12 14:03:59 domain web: state=running``; a job: ``13 14:03:59 job create web: launch 60%``."""
    when = time.strftime("%H:%M:%S", time.localtime(event.time))
    text = _job(event.data) if event.kind == "job" else _values(event)
    return printable(f"{event.seq} {when} {event.kind}{text}".rstrip()) + "\n"


def _values(event: Event) -> str:
    values = [
        f"{name}={value}" for name, value in event.data.items() if isinstance(value, str | int | float) and value
    ]
    subject = f" {event.domain}" if event.domain else ""
    return f"{subject}: {' '.join(values)}"


def _job(data: dict[str, object]) -> str:
    state, progress = data.get("state"), data.get("progress")
    if state in ("running", "undoing") and isinstance(progress, int | float):
        state = f"{state}, {data.get('message')} {progress:.0%}"
    error = data.get("error")
    reason = f": {error.get('message')}" if isinstance(error, dict) else ""
    return f" {data.get('kind')} {data.get('subject')}: {state}{reason}"
