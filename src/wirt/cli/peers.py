"""``wirt peer``: other hosts that may send guests here, and to which guests can go."""

from __future__ import annotations

from wirt.cli.text import printable, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.wire.v1_peers import PeerRecord

HEADER = ("Name", "Address", "Until", "Fingerprint")
ACTIONS = ("add", "list", "remove", "certificate")
EPILOG = """\
Two hosts that know each other's certificate talk through TLS, and believe nobody else. Each must know the other.

  certificate                   print this host's own; its fingerprint goes to standard error
  add NAME ADDRESS --certificate FILE | -
                                make a host known by its certificate (-: from standard input)
  list
  remove NAME                   forget it: it can call no more

ADDRESS is HOST or HOST:PORT, where the other host listens (its setting peer-listen; port 16509 without one).
Hosts that are reached as ssh://USER@HOST need none of this.

examples:
  wirt peer certificate >host1.pem
  wirt peer add host2 10.99.0.2 --certificate host2.pem
  ssh host2 wirt peer certificate | wirt peer add host2 10.99.0.2 --certificate -
"""
MOST_BYTES = 64 * 1024


def options_peer(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("name", metavar="NAME", nargs="?", help="what the host is called here")
    parser.add_argument("address", metavar="ADDRESS", nargs="?", help="for add: HOST or HOST:PORT")
    parser.add_argument("--certificate", metavar="FILE", help="for add: a file with its certificate, or -")


def run_peer(args: Namespace, session: Session) -> int:
    _check(args)
    if args.action == "certificate":
        return _certificate(session)
    if args.action == "list":
        return _list(session)
    from wirt.client import peers

    if args.action == "remove":
        peers.remove(session.api, args.name)
        if session.json:
            session.document({"api": "v1", "name": args.name, "removed": True})
        return 0
    document = peers.add(session.api, args.name, args.address, _read(args.certificate))
    if session.json:
        session.document(document)
    else:
        session.say(f"{args.name} is known by {document.get('fingerprint')}: compare it with what that host says")
    return 0


def _check(args: Namespace) -> None:
    from wirt.cli.arguments import usage_error

    more = "wirt peer --help"
    if args.action == "add":
        if args.address is None or args.certificate is None:
            usage_error("wirt peer add NAME ADDRESS --certificate FILE", more)
        return
    if args.certificate is not None or args.address is not None:
        usage_error(f"wirt peer {args.action} takes neither an address nor --certificate", more)
    if args.action == "remove" and args.name is None:
        usage_error("remove which? wirt peer remove NAME", more)
    if args.action in ("list", "certificate") and args.name is not None:
        usage_error(f"wirt peer {args.action} takes no name", more)


def _read(file: str) -> str:
    import sys

    from wirt.client.errors import ClientError

    try:
        if file == "-":
            return sys.stdin.read(MOST_BYTES + 1)
        with open(file, encoding="ascii", errors="replace") as opened:
            return opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise ClientError(f"{file} can't be read: {error.strerror}") from None


def _certificate(session: Session) -> int:
    from wirt.client import peers

    document = peers.certificate(session.api)
    if session.json:
        session.document(document)
    else:
        session.write(str(document.get("certificate", "")))
        session.say(f"{document.get('name')}: {document.get('fingerprint')}")
    return 0


def _list(session: Session) -> int:
    from wirt.client import peers
    from wirt.client.decode import decode_list
    from wirt.wire.v1_peers import PeerRecord

    document = peers.listed(session.api)
    found = decode_list(PeerRecord, document, "peers")
    if session.json:
        session.document(document)
    elif found:
        session.write(table(HEADER, [_row(peer) for peer in found]))
    else:
        session.say("No peers yet: wirt peer add makes another host known.")
    return 0


def _row(peer: PeerRecord) -> tuple[str, ...]:
    import time

    until = time.strftime("%Y-%m-%d", time.gmtime(peer.expires_at))
    return printable(peer.name), printable(peer.address), until, printable(peer.fingerprint)
