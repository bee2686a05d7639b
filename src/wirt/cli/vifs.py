"""``wirt network-attach``, ``network-detach`` and ``network-link``: cards of a domain that may be running."""

from __future__ import annotations

from wirt.cli.text import printable, printable_lines
from wirt.client.decode import decode
from wirt.client.http import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session

ATTACH_EPILOG = """\
The words are those of an entry of vif in an xl.cfg (wirt help keys vif); without any the card is put into the
default bridge. A domain that runs gets it at once and keeps it; one that is off has it when it is started.

examples:
  wirt network-attach web
  wirt network-attach web bridge=br1 mac=00:16:3e:11:22:33 ip=192.0.2.7
  wirt network-attach -n web bridge=br1     show what would be done, and do nothing
"""

DETACH_EPILOG = """\
A guest that runs is asked to let go of the card, as of one that is pulled out of a real machine. One that still
boots, hangs, or knows no PCI hot-plug does not answer.

example:
  wirt network-detach web 1
"""

LINK_EPILOG = """\
Down is as with its cable pulled: the guest is told, and nothing gets through. It stays so until it is put up again
or the domain's run ends.

example:
  wirt network-link web 0 down
"""


def options_network_attach(parser: Parser) -> None:
    parser.epilog = ATTACH_EPILOG
    parser.add_argument("domain", metavar="DOMAIN", help="name, ID or UUID")
    parser.add_argument("words", metavar="KEY=VALUE", nargs="*", help="what the card is and where it goes")
    parser.add_argument("-n", "--dryrun", "--dry-run", action="store_true", help="show the plan, do nothing")


def options_network_detach(parser: Parser) -> None:
    parser.epilog = DETACH_EPILOG
    parser.add_argument("domain", metavar="DOMAIN", help="name, ID or UUID")
    parser.add_argument("card", metavar="DEVID|MAC", help="the card's number or address (wirt network-list)")


def options_network_link(parser: Parser) -> None:
    parser.epilog = LINK_EPILOG
    parser.add_argument("domain", metavar="DOMAIN", help="name, ID or UUID")
    parser.add_argument("card", metavar="DEVID|MAC", help="the card's number or address (wirt network-list)")
    parser.add_argument("link", choices=("up", "down"))


def run_network_attach(args: Namespace, session: Session) -> int:
    from wirt.cli.following import run_job
    from wirt.wire.v1 import Job

    body: dict[str, object] = {"words": list(args.words)}
    if args.dryrun:
        return _show_plan(args.domain, body, session)
    document = run_job(session, lambda: session.api.vif(args.domain, body=body))
    if session.json:
        session.document(document)
    else:
        result = decode(Job, document).result
        text = f"{result.get('name', args.domain)} has network card {result.get('devid')} ({result.get('mac')})"
        session.write(printable(text) + "\n")
    return 0


def run_network_detach(args: Namespace, session: Session) -> int:
    from wirt.cli.following import run_job

    document = run_job(session, lambda: session.api.detach_vif(args.domain, args.card))
    if session.json:
        session.document(document)
    return 0


def run_network_link(args: Namespace, session: Session) -> int:
    from wirt.cli.following import run_job

    body = {"up": args.link == "up"}
    action = f"{quote(args.card)}/link"
    document = run_job(session, lambda: session.api.vif(args.domain, action, body))
    if session.json:
        session.document(document)
    return 0


def _show_plan(domain: str, body: dict[str, object], session: Session) -> int:
    from wirt.cli.create import readable
    from wirt.cli.following import tell_notices
    from wirt.wire.v1 import AttachPreview

    document = session.api.vif(domain, "plan", body)
    preview = decode(AttachPreview, document)
    tell_notices(session, document.get("notices"))
    if session.json:
        session.document(document)
        return 0
    when = "now" if preview.now else "when it is started"
    plan = "".join(readable(preview.plan, 0))
    session.write(
        f"# network card {preview.index} of {printable(preview.name)}, {when}\n{plan}\n"
        f"# configuration\n{printable_lines(preview.text).rstrip()}\n"
    )
    return 0
