"""``wirt clone``: domains like another one, with disks, names and addresses of their own."""

from __future__ import annotations

from functools import partial

from wirt.cli.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.client.errors import Json

ROUTE = "/v1/clones"
EPILOG = """\
SOURCE is a template, or a domain that is off. With --count the clones are called NEW-1, NEW-2 ...; each has a
UUID and MAC addresses of its own. All are made, or none.

A linked clone stands on its source's volumes and takes only the room of what is written to it: of a template that
is what you get where its pool can. On file systems that share blocks, and in thin pools of LVM, nothing has to
stay for it; else the source's volumes must stay as they are, so a domain that has linked clones can't be started.

Each clone gets a small read-only disk, a seed, by which cloud-init gives it a new host name, host keys and
machine-id. A guest without cloud-init keeps those of its source: wirt can't renew them.

examples:
  wirt clone web web2
  wirt clone web-base web --count 20 --start
  wirt clone web-base web --ssh-key ~/.ssh/id_ed25519.pub --user-data web.yaml
  wirt clone web web2 --full --pool fast
"""


def options_clone(parser: Parser) -> None:
    parser.epilog = EPILOG
    add = parser.add_argument
    add("source", metavar="SOURCE", help="a template, or a domain that is off")
    add("new", metavar="NEW", help="the clone's name")
    add("--count", metavar="N", type=int, help="so many, NEW-1 to NEW-N")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--linked", dest="linked", action="store_true", default=None, help="on the source's volumes")
    how.add_argument("--full", dest="linked", action="store_false", help="independent copies")
    add("--pool", metavar="POOL", help="where the new volumes go (default: beside the source's)")
    add("--start", action="store_true", help="start them then")
    add("--no-identity", dest="identity", action="store_false", help="no seed: they stay as their source is")
    add("--ssh-key", metavar="FILE", action="append", default=[], help="public keys for the guest's user")
    add("--user-data", metavar="FILE", help="cloud-init's user data, into the seed")


def run_clone(args: Namespace, session: Session) -> int:
    from wirt.cli.following import run_job

    request = _request(args)
    document = run_job(session, lambda: session.api.post(ROUTE, request))
    names = _names(document)
    if session.json:
        session.document(document)
    else:
        session.write("".join(f"{printable(name)}\n" for name in names))
        _say_what_stays(args, document, session)
    return _start(session, names) if args.start else 0


def _start(session: Session, names: list[str]) -> int:
    """All at once. The clones are made, whatever becomes of their start: one that fails keeps no other from it."""
    from wirt.cli.following import run_job
    from wirt.client.errors import ApiProblem

    code, begun = 0, []
    for name in names:
        try:
            begun.append(session.api.act(name, "start", {"paused": False}))
        except ApiProblem as problem:
            session.complain(problem)
            code = 1
    for job in begun:
        try:
            run_job(session, partial(dict, job))
        except ApiProblem as problem:
            session.complain(problem)
            code = 1
    return code


def _request(args: Namespace) -> dict[str, object]:
    from wirt.cli.bootstrap import public_keys

    return {
        "source": args.source,
        "new": args.new,
        "count": args.count,
        "linked": args.linked,
        "pool": args.pool,
        "identity": args.identity,
        "ssh_keys": [key for path in args.ssh_key for key in public_keys(path)],
        "user_data": None if args.user_data is None else _text(args.user_data),
    }


def _text(path: str) -> str:
    from wirt.cli.arguments import usage_error

    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read(1 << 20)
    except (OSError, ValueError) as error:
        usage_error(f"{path} can't be read: {error}", "--user-data FILE, a text that cloud-init knows")


def _names(document: Json) -> list[str]:
    from wirt.client.errors import BadAnswer

    result = document.get("result")
    domains = result.get("domains") if isinstance(result, dict) else None
    if not isinstance(domains, list) or not all(isinstance(each, dict) for each in domains):
        raise BadAnswer("wirtd's answer has no list of clones")
    return [str(each.get("name")) for each in domains]


def _say_what_stays(args: Namespace, document: Json, session: Session) -> None:
    lost = document["result"].get("lost") or []
    if lost:
        words = printable(", ".join(map(str, lost)))
        session.say(f"not copied, because only one card can have it: {words}")
    if args.identity:
        session.say(
            "host keys, machine-id and host name become new where the guest has cloud-init, and only there"
        )
    else:
        session.say("host keys, machine-id and host name are those of the source")
