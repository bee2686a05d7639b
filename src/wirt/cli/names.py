"""``wirt domid``, ``domname``, ``rename`` and ``undefine``."""

from __future__ import annotations

from wirt.cli.text import printable
from wirt.client.errors import ApiProblem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.wire.v1 import Domain


def options_domid(parser: Parser) -> None:
    parser.add_argument("domain", metavar="DOMAIN", help="name or UUID")


def run_domid(args: Namespace, session: Session) -> int:
    domain = _domain(session, args.domain)
    if domain.domid is None:
        raise ApiProblem(
            f"domain {domain.name} is off, so it has no ID",
            code="illegal-state",
            status=409,
            hint=f"wirt start {domain.name}",
        )
    return _answer(session, domain, str(domain.domid))


def options_domname(parser: Parser) -> None:
    parser.add_argument("domain", metavar="ID", help="ID or UUID")


def run_domname(args: Namespace, session: Session) -> int:
    domain = _domain(session, args.domain)
    return _answer(session, domain, domain.name)


def options_rename(parser: Parser) -> None:
    parser.add_argument("domain", metavar="DOMAIN", help="name, ID or UUID")
    parser.add_argument("name", metavar="NEW-NAME")


def run_rename(args: Namespace, session: Session) -> int:
    session.api.act(args.domain, "rename", {"name": args.name})
    if session.json:
        session.document({"api": "v1", "domain": args.domain, "name": args.name})
    return 0


def options_undefine(parser: Parser) -> None:
    parser.epilog = "Its disks stay. A domain that runs is not forgotten: shut it down first."
    parser.add_argument("domain", metavar="DOMAIN", help="name or UUID")


def run_undefine(args: Namespace, session: Session) -> int:
    session.api.undefine(args.domain)
    if session.json:
        session.document({"api": "v1", "domain": args.domain, "undefined": True})
    return 0


def _domain(session: Session, ref: str) -> Domain:
    from wirt.client.decode import decode
    from wirt.wire.v1 import DomainDetail

    return decode(DomainDetail, session.api.domain(ref)).domain


def _answer(session: Session, domain: Domain, text: str) -> int:
    if session.json:
        session.document({"api": "v1", "name": domain.name, "uuid": domain.uuid, "domid": domain.domid})
    else:
        session.write(printable(text) + "\n")
    return 0
