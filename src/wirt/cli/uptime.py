"""``wirt uptime``: xl's columns (xen tools/xl/xl_info.c, print_uptime)."""

from __future__ import annotations

import time

from wirt.cli.listing import chosen
from wirt.cli.text import duration, printable, short_duration
from wirt.client.decode import decode
from wirt.client.errors import ApiProblem
from wirt.wire.v1 import Domain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session

HEADER = "Name                                ID Uptime"


def options_uptime(parser: Parser) -> None:
    parser.add_argument("domains", metavar="DOMAIN", nargs="*", help="name, ID or UUID (default: all that run)")
    parser.add_argument("-s", "--short", action="store_true", help="one line of uptime(1) for each")


def run_uptime(args: Namespace, session: Session) -> int:
    document = session.api.domains(off_too=bool(args.domains))
    domains = [decode(Domain, domain) for domain in chosen(document, args.domains)]
    for domain in domains:
        if args.domains and domain.domid is None:
            raise ApiProblem(f"domain {domain.name} is off", code="illegal-state", status=409)
    if session.json:
        session.document({"api": "v1", "domains": [_document(domain) for domain in domains]})
    elif args.short:
        now = time.strftime("%H:%M:%S")
        session.write("".join(_short(domain, now) for domain in domains))
    else:
        session.write(HEADER + "\n" + "".join(format_uptime(domain) for domain in domains))
    return 0


def format_uptime(domain: Domain) -> str:
    return f"{printable(domain.name):<33} {domain.domid or 0:4d} {duration(domain.uptime_s or 0)}\n"


def _short(domain: Domain, now: str) -> str:
    return f" {now} up {short_duration(domain.uptime_s or 0)}, {printable(domain.name)} ({domain.domid or 0})\n"


def _document(domain: Domain) -> dict[str, object]:
    return {"name": domain.name, "uuid": domain.uuid, "domid": domain.domid, "uptime_s": domain.uptime_s}
