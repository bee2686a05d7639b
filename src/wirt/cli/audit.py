"""``wirt audit``: what running domains can reach, beside what they should."""

from __future__ import annotations

from wirt.cli.text import printable, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.wire.v1_audit import Audit, AuditedDomain, AuditFinding

WIDER = "wider"
HEADER = ("what", "is", "should be", "ok")
MARKS = {"ok": "yes", "weaker": "weaker", "unknown": "not seen", "wider": "NO"}
WIDEST = 58
EPILOG = """\
Looks at each domain's QEMU as the kernel shows it (/proc, control groups, nft, the network) and compares that with
the jail that it was started in, and at the files of wirt's home. Nothing is changed.

In the last column: yes; weaker (as planned, but the configuration or the host allows no more); not seen (it could
not be looked at, and below stands why); NO (wider than it should be). With -o json all is told in full.

The exit code is 1 when something is wider than it should be. A domain that runs without a jail (jail = "off") is.

examples:
  wirt audit
  wirt audit web db
  wirt audit -q || echo look at it
"""


def options_audit(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("domains", metavar="DOMAIN", nargs="*", help="name, ID or UUID (default: all that run)")
    parser.add_argument("-q", "--quiet", action="store_true", help="only what is not as it should be")


def run_audit(args: Namespace, session: Session) -> int:
    from wirt.client.decode import decode
    from wirt.client.http import quote
    from wirt.wire.v1_audit import Audit

    query = "&".join(f"domain={quote(ref)}" for ref in args.domains)
    document = session.api.get(f"/v1/audit{'?' if query else ''}{query}")
    audit = decode(Audit, document)
    if session.json:
        session.document(document)
    else:
        session.write(format_audit(audit, quiet=args.quiet))
    return 1 if audit.verdict == WIDER else 0


def format_audit(audit: Audit, *, quiet: bool = False) -> str:
    parts = [_part(_title(domain), domain.findings, quiet) for domain in audit.domains]
    parts.append(_part("the files of wirt's home", audit.home, quiet))
    text = "\n".join(part for part in parts if part)
    return f"{text}{chr(10) if text else ''}{printable(audit.summary)}\n"


def _title(domain: AuditedDomain) -> str:
    process = f", process {domain.pid}" if domain.pid is not None else ""
    return f"{domain.name} (domain {domain.domid}{process}): {domain.sentence}"


def _part(title: str, findings: list[AuditFinding], quiet: bool) -> str:
    shown = [finding for finding in findings if not quiet or finding.verdict != "ok"]
    if not shown:
        return ""
    rows: list[tuple[str, ...]] = [
        (each.what, _short(each.found), _short(each.expected), MARKS.get(each.verdict, each.verdict))
        for each in shown
    ]
    return f"{printable(title)}\n" + table(HEADER, rows) + "".join(_reason(each) for each in shown)


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."


def _reason(finding: AuditFinding) -> str:
    """What did not fit into the table, of that which is not as it should be."""
    if finding.verdict == "ok":
        return ""
    parts = [finding.found] if len(finding.found) > WIDEST else []
    parts += [finding.why] if finding.why else []
    return "".join(f"  {printable(finding.what)}: {printable(part)}\n" for part in parts)
