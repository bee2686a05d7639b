"""``wirt top``: xentop for wirt. On a terminal it draws anew every few seconds and takes keys; elsewhere, and with
``-b``, it prints one table after another."""

from __future__ import annotations

import os
import sys
import time

from wirt.cli.top_table import BLOCKS, PLAIN, View, body
from wirt.client import stats as calls
from wirt.client.decode import decode
from wirt.wire.v1_stats import StatsList

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session

HISTORY = 60
EPILOG = """\
keys: D delay, N networks, V vCPUs, B or X disks, R a header for each domain, S sort by the next column, Q quit;
the arrows move up and down.

CPU(%) is of one CPU, over the delay; the picture beside it shows the last minute, up to all that the domain's
vCPUs could use. NETTX and NETRX are as the guest sees them. VBD_OO and SSID are always 0. Domain-0 is the host
without its guests. With -o json each table is one JSON document in a line.

examples:
  wirt top
  wirt top -b -i 2 -d 5       two tables, five seconds apart, for scripts
"""


def options_top(parser: Parser) -> None:
    from wirt.cli.arguments import seconds

    parser.epilog = EPILOG
    parser.add_argument(
        "-d", "--delay", metavar="SECONDS", type=seconds, default=3.0, help="between two tables (default: 3)"
    )
    parser.add_argument("-n", "--networks", action="store_true", help="show network cards")
    parser.add_argument("-x", "--vbds", action="store_true", help="show disks")
    parser.add_argument("-v", "--vcpus", action="store_true", help="show vCPUs")
    parser.add_argument("-r", "--repeat-header", action="store_true", help="a header for each domain")
    parser.add_argument("-b", "--batch", action="store_true", help="print, and take no keys")
    parser.add_argument("-i", "--iterations", metavar="N", type=_count, help="end after N tables")
    parser.add_argument("-f", "--full-name", action="store_true", help="all of each name")
    parser.add_argument("-z", "--dom0-first", action="store_true", help="Domain-0 before all others")


def run_top(args: Namespace, session: Session) -> int:
    view = View(delay_s=args.delay)
    view.networks, view.vbds, view.vcpus = args.networks, args.vbds, args.vcpus
    view.repeat_header, view.full_name, view.zero_first = args.repeat_header, args.full_name, args.dom0_first
    if args.batch or session.json or not (sys.stdout.isatty() and sys.stdin.isatty()):
        return _batch(args.iterations, view, session)
    from wirt.cli.top_screen import show

    view.pictures = BLOCKS if _unicode() else PLAIN
    show(view, lambda: fetch(view, session), args.iterations)
    return 0


def fetch(view: View, session: Session) -> StatsList:
    return decode(StatsList, _ask(view, session, HISTORY))


def _ask(view: View, session: Session, history: int) -> dict[str, object]:
    over_s = min(calls.LONGEST_S, max(calls.SHORTEST_S, view.delay_s))
    return calls.stats(session.api, [], over_s, history)


def _batch(iterations: int | None, view: View, session: Session) -> int:
    left = iterations
    while True:
        document = _ask(view, session, 0)
        if session.json:
            session.json_line(document)
        else:
            session.write("".join(line.text + "\n" for line in body(decode(StatsList, document), view)))
            sys.stdout.flush()
        left = None if left is None else left - 1
        if left == 0:
            return 0
        time.sleep(view.delay_s)


def _unicode() -> bool:
    """What the locale says that the terminal has (locale(7))."""
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or ""
    return "utf" in locale.lower()


def _count(word: str) -> int:
    value = int(word)
    if value < 1:
        raise ValueError(word)
    return value
