"""``wirt fork``: running copies of a domain that runs."""

from __future__ import annotations

from wirt.cli.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.client.errors import Json

EPILOG = """\
Each copy goes on where DOMAIN was at one instant, with its memory and with disks of its own, which stand on what
DOMAIN's held then and take only the room of what is written to them. DOMAIN stands still for a moment and goes on.
All copies are made, or none. They are called DOMAIN-1, DOMAIN-2 ... (--name NAME: NAME-1 ...).

A copy believes to be DOMAIN: it has its host name, its IP and MAC addresses, its keys. So the cables of its cards
on bridges are pulled: wirt network-detach and network-attach give it a card with an address of its own, and
--network same leaves the cables in. A card behind a network of its own (net=user) meets nobody and stays as it is,
with ports of its own for its forwards (wirt network-list).

What DOMAIN's disks held stays as a snapshot of it as long as copies stand on that; wirt snapshot delete puts it
together with what came since.

examples:
  wirt fork web
  wirt fork web --count 5 --name test
  wirt fork web --paused
"""


def options_fork(parser: Parser) -> None:
    parser.epilog = EPILOG
    add = parser.add_argument
    add("domain", metavar="DOMAIN", help="a domain that runs, or is paused")
    add("--count", metavar="N", type=int, default=1, help="so many copies (default: 1)")
    add("--name", metavar="NAME", help="what they are called, each with a number (default: as DOMAIN)")
    add(
        "--network",
        choices=("none", "same"),
        default="none",
        help="their cards on bridges: cables pulled (default), or left in",
    )
    add("-p", "--paused", action="store_true", help="they wait for wirt unpause")


def run_fork(args: Namespace, session: Session) -> int:
    from wirt.cli.following import run_job
    from wirt.client.api import domain_path

    request = {"count": args.count, "name": args.name, "network": args.network, "paused": args.paused}
    document = run_job(session, lambda: session.api.post(domain_path(args.domain, "fork"), request))
    if session.json:
        session.document(document)
    else:
        _show(document, session)
    return 0


def _show(document: Json, session: Session) -> None:
    from wirt.client.errors import BadAnswer

    result = document.get("result")
    domains = result.get("domains") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(domains, list):
        raise BadAnswer("wirtd's answer has no list of copies")
    session.write("".join(f"{printable(str(each['name']))}\n" for each in domains))
    times = ", ".join(f"{each['after_s']:.2f}" for each in domains)
    still, source = result["stood_still_s"], printable(str(result["source"]))
    session.say(f"{source} stood still for {still:.2f} s; its copies went on {times} s after the command")
    if result["lost"]:
        session.say(f"not copied, because only one card can have it: {printable(', '.join(result['lost']))}")
    if result["snapshot"] is not None:
        session.say(f"their disks stand on the snapshot {printable(result['snapshot'])} of {source}")
    if result["cables"] == "none":
        session.say(
            "the cables of their cards on bridges are pulled: each copy believes to have its source's addresses"
        )
    else:
        session.say(
            "each copy believes to have its source's addresses; what it sends with them is dropped as forged "
            "(unless antispoof=0)"
        )
