"""``wirt qos`` and ``wirt qos-class``: classes of service, and who runs with which."""

from __future__ import annotations

from wirt.cli.text import printable, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.client.errors import Json

ROUTE = "/v1/qos-classes"
HEADER = ("Name", "Domains", "Says")
CLASS_EPILOG = """\
A class names what its domains have: share of the CPUs, limits of each of their disks and cards, memory
that ballooning leaves them. What a domain's own configuration says comes first. Changes reach running guests at
once; those that can't be changed are named, with the reason, and set without options tries them again.

  define NAME OPTION ...        make a class
  list
  show NAME                     what it says, and who names it
  set NAME [OPTION ...]         what is not named stays; none takes it away: --cap none
  destroy NAME [--force]        refused while a domain names it, also one that is off, unless --force

examples:
  wirt qos-class define gold --weight 512 --iops 2000 --iops-burst 5000 --burst-seconds 10 --rate 1Gb/s
  wirt qos-class define bronze --weight 64 --cap 50 --bps 20M --rate 20Mb/s --rate-in 20Mb/s
  wirt qos-class set bronze --cap 75
  wirt create web.cfg qos=gold
"""
EPILOG = """\
Without CLASS what the domain has is shown, and where each comes from: its own configuration, its class, or
neither.
A domain that runs has its new class at once; none takes the class away.

examples:
  wirt qos web
  wirt qos web gold
  wirt qos web none
"""
ACTIONS = ("define", "list", "show", "set", "destroy")
MEASURES = ("iops", "iops-read", "iops-write", "bps", "bps-read", "bps-write")
_ORIGINS = {"own": "its configuration", "unasked": "-"}


def options_qos_class(parser: Parser) -> None:
    parser.epilog = CLASS_EPILOG
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("name", metavar="NAME", nargs="?", help="the class's name")
    parser.add_argument("--weight", metavar="N", help="share of CPU time, 1 to 65535")
    parser.add_argument("--cap", metavar="PERCENT", help="most CPU time, in percent of one CPU; 0 is no cap")
    parser.add_argument("--disk-weight", metavar="N", help="share of a busy disk, 1 to 1000")
    parser.add_argument("--network-weight", metavar="N", help="share of a busy way out, 1 to 1000")
    parser.add_argument("--memory-guarantee", metavar="MIB", help="what ballooning leaves a guest in any case")
    for measure in MEASURES:
        what, _, direction = measure.partition("-")
        unit = "requests" if what == "iops" else "bytes"
        of = {"": "", "read": " of reading", "write": " of writing"}[direction]
        parser.add_argument(f"--{measure}", metavar="N", help=f"of each disk: {unit} a second{of}")
        parser.add_argument(f"--{measure}-burst", metavar="N", help=f"for a while so many {unit} a second{of}")
    parser.add_argument("--burst-seconds", metavar="S", help="how long a burst may last (default 1)")
    parser.add_argument("--rate", metavar="RATE", help="of what each card in a bridge sends, as in 10Mb/s")
    parser.add_argument("--rate-in", metavar="RATE", help="of what it is sent")
    parser.add_argument("--force", action="store_true", help="for destroy: even if domains name it")


def options_qos(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("domain", metavar="DOMAIN", help="name, ID or UUID")
    parser.add_argument("name", metavar="CLASS", nargs="?", help="the class that it is to have, or none")


def _words(args: Namespace) -> dict[str, str]:
    limits = [f"{each}{end}" for each in MEASURES for end in ("", "-burst")]
    names = (
        "weight",
        "cap",
        "memory-guarantee",
        "disk-weight",
        "network-weight",
        *limits,
        "burst-seconds",
        "rate",
        "rate-in",
    )
    given = {name: getattr(args, name.replace("-", "_")) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def run_qos_class(args: Namespace, session: Session) -> int:
    words = _words(args)
    _check(args, words)
    if args.action == "list":
        return _list(session)
    if args.action == "show":
        document = session.api.get(_route(args.name))
        if session.json:
            session.document(document)
        else:
            session.write(_shown(document))
        return 0
    return _change(args, words, session)


def _check(args: Namespace, words: dict[str, str]) -> None:
    from wirt.cli.arguments import usage_error

    action, more = args.action, "wirt qos-class --help"
    if (args.name is None) != (action == "list"):
        usage_error(f"wirt qos-class {action} takes {'no name' if args.name else 'the name of a class'}", more)
    if words and action not in ("define", "set"):
        usage_error(f"wirt qos-class {action} takes no --{next(iter(words))}", more)
    if args.force and action != "destroy":
        usage_error(f"--force is for destroy, not for {action}", more)


def _change(args: Namespace, words: dict[str, str], session: Session) -> int:
    """1 if a guest could not be changed: the class is changed all the same."""
    from wirt.cli.following import run_job

    def submit() -> Json:
        if args.action == "define":
            return session.api.post(ROUTE, {"name": args.name, "words": words})
        if args.action == "set":
            return session.api.post(_route(args.name), {"words": words})
        return session.api.delete(_route(args.name) + ("?force=true" if args.force else ""))

    document = run_job(session, submit)
    if session.json:
        session.document(document)
    result = document.get("result")
    failed = result.get("failed") if isinstance(result, dict) else None
    rows = [each for each in failed if isinstance(each, dict)] if isinstance(failed, list) else []
    for each in rows:
        session.say(f"domain {each.get('domain')} could not be changed: {each.get('why')}")
    if rows and args.action != "destroy":
        session.say(f"wirt qos-class set {args.name} tries again")
    return 1 if rows else 0


def run_qos(args: Namespace, session: Session) -> int:
    from wirt.client.api import domain_path

    path = domain_path(args.domain, "qos")
    if args.name is None:
        document = session.api.get(path)
        if session.json:
            session.document(document)
        else:
            _terms(document, session)
        return 0
    from wirt.cli.following import run_job

    document = run_job(session, lambda: session.api.post(path, {"name": args.name}))
    if session.json:
        session.document(document)
    return 0


def _terms(document: Json, session: Session) -> None:
    from wirt.client.decode import decode
    from wirt.wire.v1_qos import QosTerms

    found = decode(QosTerms, document)
    of_class = f"class {found.qos_class}"
    session.write(f"class: {printable(found.qos_class or 'none')}\n")
    rows: list[tuple[str, ...]] = [
        (row.what, row.value, of_class if row.origin == "class" else _ORIGINS.get(row.origin, row.origin))
        for row in found.rows
    ]
    session.write(table(("What", "Value", "From"), rows))
    for remark in found.remarks:
        session.say(f"{found.name}: {remark}")


def _list(session: Session) -> int:
    from wirt.client.decode import decode_list
    from wirt.wire.v1_qos import QosClass

    document = session.api.get(ROUTE)
    classes = decode_list(QosClass, document, "classes")
    if session.json:
        session.document(document)
    elif classes:
        rows: list[tuple[str, ...]] = [(each.name, str(len(each.domains)), _line(each.words)) for each in classes]
        session.write(table(HEADER, rows))
    else:
        session.say("No classes of service yet: wirt qos-class define makes one.")
    return 0


def _shown(document: Json) -> str:
    from wirt.client.decode import decode
    from wirt.wire.v1_qos import QosClass

    found = decode(QosClass, document)
    lines = [("name", found.name), *((word, str(value)) for word, value in found.words.items())]
    lines.append(("domains", " ".join(found.domains) or "-"))
    return "".join(f"{printable(name):<17}: {printable(value)}\n" for name, value in lines)


def _line(words: dict[str, object]) -> str:
    return " ".join(f"{word}={value}" for word, value in words.items())


def _route(name: str) -> str:
    from wirt.client.errors import ApiProblem
    from wirt.client.http import quote

    if not name:
        raise ApiProblem("a class's name can't be empty", code="bad-input", status=422)
    return f"{ROUTE}/{quote(name)}"
