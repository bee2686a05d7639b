"""``wirt create`` and ``wirt define``: an xl.cfg becomes a domain."""

from __future__ import annotations

import os
import sys

from wirt.cli.arguments import usage_error
from wirt.cli.following import run_job, tell_notices
from wirt.cli.text import printable, printable_lines
from wirt.client.decode import decode
from wirt.client.errors import ClientError
from wirt.wire.v1 import CreateRequest, Job, PlanPreview

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session

MAX_CONFIG_BYTES = 1024 * 1024
STDIN = frozenset({"-", "/dev/stdin"})

CREATE_EPILOG = """\
FILE is an xl.cfg file as Xen's xl takes it (xl.cfg(5)); KEY=VALUE overrides what is in it. "-" reads it
from standard input. wirt help keys explains the keys.

examples:
  wirt create web.cfg                   start it
  wirt create web.cfg -c                ... and be at its console
  wirt create web.cfg memory=512 'name="web2"'
  wirt create -n web.cfg                show what would be done, and do nothing
"""

DEFINE_EPILOG = """\
A defined domain stays when it is off. wirt start starts it, wirt undefine forgets it.

example:
  wirt define web.cfg && wirt start web
"""


def options_create(parser: Parser) -> None:
    parser.description = "Start a domain from an xl.cfg file, with the options of xl create."
    parser.epilog = CREATE_EPILOG
    _config_options(parser)
    parser.add_argument("-p", "--paused", action="store_true", help="leave it paused")
    parser.add_argument("-c", "--console", action="store_true", help="be at its console (Ctrl-] leaves)")
    parser.add_argument("-n", "--dryrun", "--dry-run", action="store_true", help="show the plan, do nothing")
    parser.add_argument("-F", "--foreground", action="store_true", help="return only when the domain has ended")
    parser.add_argument("-e", action="store_true", help="accepted for xl's sake: wirtd always looks after domains")
    parser.add_argument("-d", "--debug", action="store_true", help="tell each step on standard error")


def options_define(parser: Parser) -> None:
    parser.epilog = DEFINE_EPILOG
    _config_options(parser)


def _config_options(parser: Parser) -> None:
    parser.add_argument("words", metavar="FILE | KEY=VALUE", nargs="*", help="the configuration, and overrides")
    parser.add_argument("-f", "--defconfig", metavar="FILE", help="the configuration file")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing when all is well")


def run_create(args: Namespace, session: Session) -> int:
    if args.console and session.json:
        usage_error("-c shows a console, and a console is not JSON")
    request = _request(args, paused=args.paused)
    if args.dryrun:
        return _show_plan(session, request)
    document = run_job(session, lambda: session.api.create(request), quiet=args.quiet, steps=args.debug)
    job = decode(Job, document)
    if session.json:
        session.document(document)
    elif not args.quiet and not args.console:
        state = "is paused" if args.paused else "is running"
        session.write(printable(f"{_name(job)} {state} as domain {job.result.get('domid', '?')}") + "\n")
    ref = str(job.result.get("uuid") or _name(job))
    if args.console:
        from wirt.cli.console import attach

        attach(session, ref, name=_name(job), history=True)
    if args.foreground:
        _until_its_end(session, ref, _name(job))
    return 0


def run_define(args: Namespace, session: Session) -> int:
    request = _request(args, persistent=True, start=False)
    document = run_job(session, lambda: session.api.create(request), quiet=args.quiet)
    if session.json:
        session.document(document)
    elif not args.quiet:
        session.write(printable(f"{_name(decode(Job, document))} is defined") + "\n")
    return 0


def _request(args: Namespace, **how: bool) -> CreateRequest:
    """Sorts the words as xl does: one with ``=`` overrides, the first other one is the file."""
    overrides = [word for word in args.words if "=" in word]
    files = [word for word in args.words if "=" not in word]
    if args.defconfig is not None:
        files.insert(0, args.defconfig)
    if len(files) > 1:
        usage_error(f"one configuration file at a time: {files[0]} and {files[1]} are two")
    if not files and not overrides:
        usage_error("which configuration file?", "wirt create FILE; wirt create --help has examples")
    text = read_config(files[0]) if files else ""
    name = ("<stdin>" if files[0] in STDIN else files[0]) if files else "<command line>"
    return CreateRequest(text=text, file=name, cwd=directory(), overrides=overrides, **how)


def directory() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        raise ClientError(f"the current directory can't be used: {error.strerror}", hint="cd elsewhere") from None


def read_config(file: str) -> str:
    """The file's text; :class:`ClientError` says what is wrong with it."""
    try:
        if file in STDIN:
            data = sys.stdin.buffer.read(MAX_CONFIG_BYTES + 1)
        else:
            with open(file, "rb") as stream:
                data = stream.read(MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        raise ClientError(f"{file}: there is no such file") from None
    except OSError as error:
        raise ClientError(f"{file}: {error.strerror or error}") from None
    if len(data) > MAX_CONFIG_BYTES:
        raise ClientError(f"{file}: larger than 1 MiB, so it can hardly be a domain's configuration")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ClientError(f"{file}:{line}: not UTF-8 text (byte 0x{data[error.start]:02x})") from None


def _name(job: Job) -> str:
    return str(job.result.get("name") or job.subject)


def _until_its_end(session: Session, ref: str, name: str) -> None:
    from wirt.cli.waiting import until_ended

    sys.stdout.flush()
    try:
        until_ended(session.api, ref, deadline=None)
    except KeyboardInterrupt:
        session.say(f"wirt: {name} goes on running; wirt destroy {name} ends it")
        raise
    session.say(f"wirt: {name} has ended")


def _show_plan(session: Session, request: CreateRequest) -> int:
    document = session.api.plan(request)
    preview = decode(PlanPreview, document)
    tell_notices(session, document.get("notices"))
    if session.json:
        session.document(document)
        return 0
    from shlex import join

    session.write(
        f"# configuration\n{printable_lines(preview.text).rstrip()}\n\n"
        f"# plan\n{''.join(readable(preview.plan, 0))}\n"
        f"# command\n{printable_lines(join(preview.command))}\n"
    )
    return 0


def readable(value: Any, depth: int) -> list[str]:
    """A plan's values, one a line, those within others indented."""
    pad = "  " * depth
    items = value.items() if isinstance(value, dict) else [("-", item) for item in value]
    lines: list[str] = []
    for name, item in items:
        label = printable(str(name)) + ("" if name == "-" else ":")
        if isinstance(item, dict | list) and item:
            lines += [f"{pad}{label}\n", *readable(item, depth + 1)]
        elif isinstance(item, dict | list) or item is None:
            lines.append(f"{pad}{label} none\n")
        else:
            lines.append(f"{pad}{label} {printable(str(item))}\n")
    return lines
