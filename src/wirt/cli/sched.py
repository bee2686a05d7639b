"""``wirt sched-credit``, ``sched-credit2``, ``sched-rtds``: xl's options and columns (xen tools/xl/xl_sched.c)."""

from __future__ import annotations

from wirt.cli.text import printable
from wirt.client.api import domain_path, domain_query
from wirt.client.decode import decode, decode_list
from wirt.wire.v1_scheduling import SchedDomain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.client.errors import Json

CREDIT_HEADER = f"{'Name':<33} {'ID':>4} {'Weight':>6} {'Cap':>4}\n"
REAL_TIME_HEADER = f"{'Name':<33} {'ID':>4} {'Period':>9} {'Budget':>9} {'Extratime':>10}\n"
CREDIT = """\
Without options the domains that run are listed. A weight is a relative share, 1 to 65535, and 256 unasked; a cap
is the most a domain may have, in percent of one CPU, 0 for none. A domain that runs has them at once, and the
record keeps them.

examples:
  wirt {verb} -d web -w 512
  wirt {verb} -d batch -c 50
"""
REAL_TIME = """\
Without options the domains that run are listed; those without a budget have 0. Period and budget are in
microseconds, and each vCPU's own. A quota of the kernel's keeps vCPUs to them: it sets no deadline within a
period, and what of that this host can't do is said on standard error. -b 0 takes both away.

example:
  wirt sched-rtds -d web -p 10000 -b 2500
"""


def options_sched_credit(parser: Parser) -> None:
    _options_credit(parser, "sched-credit")


def options_sched_credit2(parser: Parser) -> None:
    _options_credit(parser, "sched-credit2")


def _options_credit(parser: Parser, verb: str) -> None:
    parser.epilog = CREDIT.format(verb=verb)
    parser.add_argument("-d", "--domain", metavar="DOMAIN", help="name, ID or UUID")
    parser.add_argument("-w", "--weight", metavar="WEIGHT", type=int, help="1 to 65535")
    parser.add_argument("-c", "--cap", metavar="CAP", type=int, help="in percent of one CPU; 0 is none")


def options_sched_rtds(parser: Parser) -> None:
    parser.epilog = REAL_TIME
    parser.add_argument("-d", "--domain", metavar="DOMAIN", help="name, ID or UUID")
    parser.add_argument("-v", "--vcpuid", metavar="VCPU", help="all: here all vCPUs of a domain have the same")
    parser.add_argument("-p", "--period", metavar="PERIOD", type=int, help="in microseconds")
    parser.add_argument("-b", "--budget", metavar="BUDGET", type=int, help="in microseconds; 0 is none")
    parser.add_argument("-e", "--extratime", metavar="EXTRATIME", type=int, choices=(0, 1), help="0 or 1")


def run_sched_credit(args: Namespace, session: Session) -> int:
    asked = {"weight": args.weight, "cap": args.cap}
    return _run(args, session, asked, "credit", CREDIT_HEADER)


run_sched_credit2 = run_sched_credit


def run_sched_rtds(args: Namespace, session: Session) -> int:
    from wirt.cli.arguments import usage_error

    if args.vcpuid not in (None, "all"):
        usage_error(
            f"vCPU {args.vcpuid} can't have a budget of its own: here all vCPUs of a domain have the same",
            "leave -v out, or say -v all",
        )
    extra = None if args.extratime is None else bool(args.extratime)
    asked = {"period_us": args.period, "budget_us": args.budget, "extratime": extra}
    return _run(args, session, asked, "real-time", REAL_TIME_HEADER)


def _run(args: Namespace, session: Session, asked: Json, action: str, header: str) -> int:
    from wirt.cli.arguments import usage_error

    changes = any(value is not None for value in asked.values())
    if changes and args.domain is None:
        usage_error("whose? -d DOMAIN", f"wirt sched-{action} --help" if action == "credit" else "-d DOMAIN")
    if changes:
        document = session.api.post(domain_path(args.domain, action), asked)
        if session.json:
            session.document(document)
        _say_remarks(session, [decode(SchedDomain, document)])
        return 0
    document = session.api.get("/v1/scheduling" + domain_query(args.domain))
    domains = decode_list(SchedDomain, document, "domains")
    if session.json:
        session.document(document)
        return 0
    row = _credit if action == "credit" else _real_time
    session.write(header + "".join(row(domain) for domain in domains))
    _say_remarks(session, domains)
    return 0


def _credit(domain: SchedDomain) -> str:
    return f"{printable(domain.name):<33} {_id(domain):>4} {domain.weight:6d} {domain.cap:4d}\n"


def _real_time(domain: SchedDomain) -> str:
    extra = "yes" if domain.extratime else "no"
    return (
        f"{printable(domain.name):<33} {_id(domain):>4} {domain.period_us:9d} {domain.budget_us:9d} {extra:>10}\n"
    )


def _id(domain: SchedDomain) -> str:
    return "-" if domain.domid is None else str(domain.domid)


def _say_remarks(session: Session, domains: list[SchedDomain]) -> None:
    for domain in domains:
        for remark in domain.remarks:
            session.say(f"{domain.name}: {remark}")
