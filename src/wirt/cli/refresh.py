"""``wirt refresh``: guests go on in the QEMU that is installed now."""

from __future__ import annotations

from wirt.cli.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.client.errors import Json

EPILOG = """\
After an upgrade of QEMU, running domains are carried by the old one still; wirt list and wirt info say which. A
refresh has a domain go on in the new one: its memory is copied while it runs, it stands still for some hundredths
of a second, and goes on with its disks, cards and console. For that time there must be room for its memory twice.
It gets another ID, as every run has its own. Cancelled (Ctrl-C) or failed before the guest is there, it goes on as
before. Connections through a user-mode card are cut; those over a bridge stay.

examples:
  wirt refresh web
  wirt refresh --all
"""


def options_refresh(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("domain", metavar="DOMAIN", nargs="*", help="name, ID or UUID")
    parser.add_argument("--all", action="store_true", help="all that run on another QEMU than the installed one")


def run_refresh(args: Namespace, session: Session) -> int:
    from wirt.cli.arguments import usage_error
    from wirt.client.errors import ApiProblem

    if bool(args.domain) == args.all:
        usage_error("wirt refresh takes domains, or --all")
    refs = _outdated(session) if args.all else args.domain
    documents: list[Json] = []
    failed = 0
    for ref in refs:
        try:
            documents.append(_one(ref, session))
        except ApiProblem as problem:
            if not args.all:
                raise
            session.complain(problem)
            failed += 1
    if session.json:
        session.document(documents[0] if len(documents) == 1 and not args.all else {"refreshed": documents})
    return 1 if failed else 0


def _outdated(session: Session) -> list[str]:
    from wirt.client.decode import decode
    from wirt.wire.v1_refresh import Outdated

    found = decode(Outdated, session.api.get("/v1/outdated"))
    if not found.domains:
        session.say(f"All domains run on the QEMU that is installed ({found.installed}).")
    return [each.uuid for each in found.domains]


def _one(ref: str, session: Session) -> Json:
    from wirt.cli.following import run_job
    from wirt.client.api import domain_path
    from wirt.client.decode import decode
    from wirt.wire.v1_refresh import Refreshed

    document = run_job(session, lambda: session.api.post(domain_path(ref, "refresh"), timeout_s=60.0))
    result = document.get("result")
    if not session.json and isinstance(result, dict):
        now = decode(Refreshed, result)
        stood = "" if now.gap_s is None else f", stood still for {1000 * now.gap_s:.0f} ms"
        session.write(
            f"{printable(now.name)} goes on in {printable(now.version)}, process {now.pid}: "
            f"ID {now.domid}, was {now.old_domid}{stood}\n"
        )
    return document
