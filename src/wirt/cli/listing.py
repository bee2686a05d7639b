"""``wirt list``: the command that scripts run most, so it reads the answer's JSON itself; ``wirt.wire.v1``'s
classes would take 20 ms to build."""

from __future__ import annotations

from wirt.cli.text import printable
from wirt.client.errors import ApiProblem, BadAnswer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.client.errors import Json

HEADER = "Name                                        ID   Mem VCPUs\tState\tTime(s)"
VERBOSE_HEADER = "   UUID                            Reason-Code\tSecurity Label"
"""Both as ``xl list`` prints them (xen tools/xl/xl_info.c, list_domains), tabs included."""

REASONS = {"poweroff": 0, "reboot": 1, "suspend": 2, "crash": 3, "watchdog": 4, "soft-reset": 5}
"""Xen's numbers (xen/include/public/sched.h, SHUTDOWN_*), for ``-v``."""

EPILOG = """\
States: r running, b blocked, p paused, s shut down, c crashed, d dying.

examples:
  wirt list                 what runs now
  wirt list --all           also what is defined and off
  wirt list web db          only these
  wirt list -l web          everything about one domain, as JSON
"""


def options_list(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("domains", metavar="DOMAIN", nargs="*", help="name, ID or UUID (default: all that run)")
    parser.add_argument("-l", "--long", action="store_true", help="all details and the configuration, as JSON")
    parser.add_argument("-v", "--verbose", action="store_true", help="also UUIDs and why domains ended")
    parser.add_argument("-a", "--all", action="store_true", help="also domains that are off")


def run_list(args: Namespace, session: Session) -> int:
    document = session.api.domains(off_too=args.all or bool(args.domains))
    domains = chosen(document, args.domains)
    if args.long:
        session.document([detail for detail in (_detail(session, domain) for domain in domains) if detail])
    elif session.json:
        session.document({**document, "domains": domains})
    else:
        session.write(format_list(domains, verbose=args.verbose))
        _tell_outdated(domains, session)
    return 0


def _tell_outdated(domains: list[Json], session: Session) -> None:
    count = sum(bool(domain.get("outdated")) for domain in domains)
    if count:
        run = "domains run" if count > 1 else "domain runs"
        session.say(f"{count} {run} on a QEMU that is no longer installed: wirt refresh --all")


def chosen(document: Json, refs: list[str]) -> list[Json]:
    """The domains of a ``DomainList``: all, or those that ``refs`` name, in the order of ``refs``.

    Raises :class:`ApiProblem` for one that is not there.
    """
    domains = document.get("domains")
    if not isinstance(domains, list) or not all(isinstance(domain, dict) for domain in domains):
        raise BadAnswer("wirtd's answer has no list of domains")
    if not refs:
        return domains
    return [_find(domains, ref) for ref in refs]


def _find(domains: list[Json], ref: str) -> Json:
    for key in ("name", "domid", "uuid"):
        for domain in domains:
            if domain.get(key) is not None and str(domain[key]) == ref:
                return domain
    raise ApiProblem(
        f"there is no domain '{ref}'",
        code="not-found",
        status=404,
        hint="wirt list --all shows all",
    )


def format_list(domains: list[Json], *, verbose: bool) -> str:
    """The table, as xl prints it; a domain that is off has ``-`` as its ID."""
    lines = [HEADER + (VERBOSE_HEADER if verbose else "")]
    for domain in domains:
        try:
            lines.append(_row(domain) + (_verbose(domain) if verbose else ""))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadAnswer(f"wirtd sent a domain that can't be shown ({error!r})") from None
    return "\n".join(lines) + "\n"


def _row(domain: Json) -> str:
    domid = domain["domid"]
    shown_id = "-" if domid is None else f"{domid:d}"
    return (
        f"{printable(domain['name']):<40} {shown_id:>5} {domain['memory_mib']:5d} {domain['vcpus']:5d}"
        f"     {printable(domain['flags'])}  {domain['cpu_time_s']:8.1f}"
    )


def _verbose(domain: Json) -> str:
    reason = domain.get("end_reason")
    number = f"{REASONS[reason]:x}" if reason in REASONS else "-"
    return f" {printable(domain['uuid'])} {number:>8} {'-':>16}"


def _detail(session: Session, domain: Json) -> Json | None:
    try:
        return session.api.domain("0" if domain.get("domid") == 0 else str(domain.get("uuid")))
    except ApiProblem as problem:
        if problem.status == 404:  # It ended since it was listed.
            return None
        raise
