"""``wirt security-group``: what may reach guests, and what they may reach."""

from __future__ import annotations

from wirt.cli.text import printable, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.client.errors import Json
    from wirt.wire.v1_groups import SecurityGroup

ROUTE = "/v1/security-groups"
HEADER = ("Name", "Rules", "Domains", "Description")
EPILOG = """\
A card with groups= in its vif gets what any of its groups allows, and answers to that. A direction that no rule
of its groups speaks of: nothing comes in, everything goes out. Changes reach running guests at once.

  create NAME [--allow RULE ...] [--description TEXT]
  list
  info NAME                     its rules with their numbers, and who names it
  set NAME [--allow [RULE ...]] [--description TEXT]
                                these rules in the place of all it had
  allow NAME RULE ...           more rules
  revoke NAME RULE | NUMBER     one rule less
  destroy NAME                  refused while a domain names it, also one that is off

A RULE is DIRECTION:PROTOCOL[:PORTS][:from=PEERS | :to=PEERS]
  DIRECTION  in or out, as the guest sees it
  PROTOCOL   any, tcp, udp, icmp (IPv6's too)
  PORTS      the receiver's: 22 or 22,80-90; without them all
  PEERS      addresses and networks, or group:NAME for the members of a group; from= with in, to= with out

examples:
  wirt security-group create web --allow in:tcp:80,443 in:tcp:22:from=10.0.0.0/8
  wirt security-group create db --allow in:tcp:5432:from=group:web
  wirt security-group allow web out:udp:53:to=192.0.2.1,2001:db8::1
  wirt security-group revoke web 2
"""
ACTIONS = ("create", "list", "info", "set", "allow", "revoke", "destroy")


def options_security_group(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("name", metavar="NAME", nargs="?", help="the group's name")
    parser.add_argument("rules", metavar="RULE", nargs="*", help="for allow and revoke: a rule, or its number")
    parser.add_argument("--allow", metavar="RULE", nargs="*", action="extend", help="for create and set")
    parser.add_argument("--description", metavar="TEXT", help="for create and set: what it is for")


def run_security_group(args: Namespace, session: Session) -> int:
    _check(args)
    if args.action == "list":
        return _list(session)
    if args.action == "destroy":
        session.api.delete(_route(args.name))
        if session.json:
            session.document({"api": "v1", "name": args.name, "destroyed": True})
        return 0
    document = _act(args, session)
    if session.json:
        session.document(document)
    elif args.action == "info":
        session.write(_info(document))
    return 0


def _check(args: Namespace) -> None:
    from wirt.cli.arguments import usage_error

    action, more = args.action, "wirt security-group --help"
    if (args.name is None) != (action == "list"):
        what = "no name" if args.name else "the name of a group"
        usage_error(f"wirt security-group {action} takes {what}", more)
    if (args.allow is not None or args.description is not None) and action not in ("create", "set"):
        usage_error(f"wirt security-group {action} takes neither --allow nor --description", more)
    if action == "set" and args.allow is None and args.description is None:
        usage_error("set what? --allow RULE ... or --description TEXT", more)
    if action == "allow" and not args.rules:
        usage_error("wirt security-group allow takes a rule", more)
    if action == "revoke" and len(args.rules) != 1:
        usage_error("wirt security-group revoke takes one rule, or its number", more)
    if args.rules and action not in ("allow", "revoke"):
        usage_error(f"what is '{args.rules[0]}'? Rules stand behind --allow", more)


def _act(args: Namespace, session: Session) -> Json:
    if args.action == "create":
        body = {"name": args.name, "rules": args.allow or [], "description": args.description or ""}
        return session.api.post(ROUTE, body)
    route = _route(args.name)
    if args.action == "info":
        return session.api.get(route)
    if args.action == "set":
        return session.api.post(route, {"rules": args.allow, "description": args.description})
    if args.action == "revoke":
        return session.api.post(f"{route}/revoke", {"rule": args.rules[0]})
    return session.api.post(f"{route}/allow", {"rules": args.rules})


def _route(name: str) -> str:
    from wirt.client.errors import ApiProblem
    from wirt.client.http import quote

    if not name:
        raise ApiProblem("a security group's name can't be empty", code="bad-input", status=422)
    return f"{ROUTE}/{quote(name)}"


def _list(session: Session) -> int:
    from wirt.client.decode import decode_list
    from wirt.wire.v1_groups import SecurityGroup

    document = session.api.get(ROUTE)
    groups = decode_list(SecurityGroup, document, "groups")
    if session.json:
        session.document(document)
    elif groups:
        session.write(table(HEADER, [_row(group) for group in groups]))
    else:
        session.say("No security groups yet: wirt security-group create makes one.")
    return 0


def _row(group: SecurityGroup) -> tuple[str, ...]:
    return group.name, str(len(group.rules)), str(len(group.domains)), group.description or "-"


def _info(document: Json) -> str:
    from wirt.client.decode import decode
    from wirt.wire.v1_groups import SecurityGroup

    group = decode(SecurityGroup, document)
    lines = [("name", group.name), ("description", group.description or "-")]
    lines += [(f"rule {number}", rule) for number, rule in enumerate(group.rules, 1)]
    if not group.rules:
        lines.append(("rules", "none: nothing comes in, everything goes out"))
    lines.append(("domains", " ".join(group.domains) or "-"))
    lines.append(("groups", " ".join(group.groups) or "-"))
    return "".join(f"{name:<12}: {printable(value)}\n" for name, value in lines)
