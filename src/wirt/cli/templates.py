"""``wirt template``: domains that are kept to make others from."""

from __future__ import annotations

from wirt.cli.text import printable, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.wire.v1_templates import Template

ROUTE = "/v1/templates"
HEADER = ("Name", "Mem", "VCPUs", "Volumes", "Clones' volumes")
EPILOG = """\
  create DOMAIN [--name NAME]       make a template of a domain that is off. It is not listed among the domains any
                                    more and is not started; nothing writes its volumes or removes them
  list
  info NAME                         one, with what stands on it
  destroy NAME [--delete-volumes]   forget it. Its volumes stay, unless they are to go too; not while clones stand
                                    on them
  to-domain NAME                    a domain again; not while clones stand on its volumes

examples:
  wirt template create web --name web-base
  wirt clone web-base web --count 20 --start
"""
ACTIONS = ("create", "list", "info", "destroy", "to-domain")


def options_template(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("name", metavar="NAME", nargs="?", help="a template; for create a domain that is off")
    parser.add_argument("--name", metavar="NAME", dest="new", help="create: what the template is called")
    parser.add_argument("--delete-volumes", action="store_true", help="destroy: its volumes too")


def run_template(args: Namespace, session: Session) -> int:
    from wirt.cli.arguments import usage_error

    if (args.name is None) != (args.action == "list"):
        usage_error(f"wirt template {args.action} takes {'nothing more' if args.name else 'a name'}")
    if args.new is not None and args.action != "create":
        usage_error(f"--name is for create, not for {args.action}")
    if args.delete_volumes and args.action != "destroy":
        usage_error(f"--delete-volumes is for destroy, not for {args.action}")
    if args.action == "list":
        return _list(session)
    if args.action == "info":
        return _info(args.name, session)
    return _work(args, session)


def _work(args: Namespace, session: Session) -> int:
    from wirt.cli.following import run_job

    body = None
    if args.action == "create":
        target, body = ROUTE, {"domain": args.name, "name": args.new}
    else:
        target = f"{_route(args.name)}/{args.action}{'?delete-volumes=1' if args.delete_volumes else ''}"
    document = run_job(session, lambda: session.api.post(target, body), quiet=True)
    if session.json:
        session.document(document)
    return 0


def _list(session: Session) -> int:
    from wirt.client.decode import decode_list
    from wirt.wire.v1_templates import Template

    document = session.api.get(ROUTE)
    templates = decode_list(Template, document, "templates")
    if session.json:
        session.document(document)
    elif templates:
        session.write(table(HEADER, [_row(each) for each in templates]))
    else:
        session.say("No templates yet: wirt template create DOMAIN makes one.")
    return 0


def _row(of: Template) -> tuple[str, ...]:
    return of.name, str(of.memory_mib), str(of.vcpus), ", ".join(of.volumes) or "-", str(len(of.clones))


def _info(name: str, session: Session) -> int:
    from wirt.client.decode import decode
    from wirt.wire.v1_templates import Template

    document = session.api.get(_route(name))
    if session.json:
        session.document(document)
        return 0
    of = decode(Template, document)
    facts = [("template", of.name), ("uuid", of.uuid), ("type", of.type), ("memory", f"{of.memory_mib} MiB")]
    facts += [("vcpus", str(of.vcpus)), *(("volume", each) for each in of.volumes)]
    facts += [("stands on it", each) for each in of.clones]
    session.write("".join(f"{key:<14}: {printable(value)}\n" for key, value in facts) + "\n")
    session.write("".join(f"  {printable(line)}\n" for line in (of.config or "").splitlines()))
    return 0


def _route(name: str) -> str:
    from wirt.client.errors import ApiProblem
    from wirt.client.http import quote

    if not name:
        raise ApiProblem("a template's name can't be empty", code="bad-input", status=422)
    return f"{ROUTE}/{quote(name)}"
