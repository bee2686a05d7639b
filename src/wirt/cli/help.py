"""``wirt help``: the overview, a verb's own help, and the keys of an xl.cfg file."""

from __future__ import annotations

from wirt.cli.arguments import usage_error, verb_parser
from wirt.cli.text import printable, printable_lines
from wirt.cli.verbs import VERBS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.wire.v1 import Key

INTRO = "usage: wirt VERB [options]\n\nRuns virtual machines (domains) with the verbs and files of Xen's xl.\n"

OUTRO = """
examples:
  wirt image build tiny              make a small Linux to try things out with
  wirt create web.cfg -c             start a domain and be at its console
  wirt list                          see what runs

wirt VERB --help explains a verb, wirt help keys the keys of an xl.cfg file. Every verb takes -o json.
"""


def options_help(parser: Parser) -> None:
    parser.epilog = "examples:\n  wirt help create\n  wirt help keys\n  wirt help keys 'on_*'"
    parser.add_argument("topic", metavar="VERB | keys", nargs="?", help="what to explain")
    parser.add_argument("pattern", metavar="PATTERN", nargs="?", help="with keys: only those like this (* and ?)")
    parser.add_argument("--long", action="store_true", help="accepted for xl's sake")


def run_help(args: Namespace, session: Session) -> int:
    if args.topic == "keys":
        return _keys(args.pattern, session)
    if args.pattern is not None:
        usage_error(f"one verb at a time, not {args.pattern} too")
    if args.topic is None:
        return _overview(session)
    verb = VERBS.get(args.topic)
    if verb is None:
        usage_error(f"there is no verb '{args.topic}'")
    module = __import__(f"wirt.cli.{verb.module}", fromlist=[verb.suffix])
    parser = verb_parser(verb, "text")
    getattr(module, f"options_{verb.suffix}")(parser)
    if session.json:
        session.document({"api": "v1", "verb": verb.name, "help": parser.format_help()})
    else:
        session.write(parser.format_help())
    return 0


def _overview(session: Session) -> int:
    if session.json:
        rows = [{"verb": verb.name, "group": verb.group, "help": verb.help} for verb in VERBS.values()]
        session.document({"api": "v1", "verbs": rows})
        return 0
    text, width = INTRO, max(map(len, VERBS)) + 2
    for group in dict.fromkeys(verb.group for verb in VERBS.values()):
        text += f"\n{group}\n"
        text += "".join(f"  {verb.name:<{width}}{verb.help}\n" for verb in VERBS.values() if verb.group == group)
    session.write(text + OUTRO)
    return 0


def _keys(pattern: str | None, session: Session) -> int:
    from wirt.client.decode import decode_list
    from wirt.client.errors import ApiProblem
    from wirt.wire.v1 import Key

    document = session.api.get("/v1/keys")
    keys = [key for key in decode_list(Key, document, "keys") if pattern is None or _matches(key.name, pattern)]
    if not keys and pattern is not None:
        raise ApiProblem(
            f"no key is like '{pattern}'",
            code="not-found",
            status=404,
            hint="wirt help keys shows all that there are",
        )
    if session.json:
        names = {key.name for key in keys}
        session.document({**document, "keys": [key for key in document["keys"] if key["name"] in names]})
    else:
        session.write("\n".join(_group(group, keys) for group in dict.fromkeys(key.group for key in keys)))
    return 0


def _matches(name: str, pattern: str) -> bool:
    from fnmatch import fnmatchcase

    return fnmatchcase(name, pattern) if any(char in pattern for char in "*?[") else pattern in name


def _group(group: str, keys: list[Key]) -> str:
    return f"{printable(group)}\n" + "".join(_key(key) for key in keys if key.group == group)


def _key(key: Key) -> str:
    default = f" (default: {printable(key.default)})" if key.default else ""
    text = printable_lines(key.help).replace("\n", "\n      ")
    honoured = f"      honoured by: {printable(', '.join(key.honoured_by))}\n" if key.honoured_by else ""
    return f"  {printable(key.name)} = {printable(key.type)}{default}\n      {text}\n{honoured}"
