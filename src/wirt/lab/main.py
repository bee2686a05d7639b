"""``python -m wirt.lab``: what ``wirt lab`` starts."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from wirt.lab import state
from wirt.lab.commands import check_able
from wirt.lab.errors import LabError
from wirt.lab.lab import Lab
from wirt.lab.plan import LINKS, MIGRATION, bits_per_s


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        check_able()
        return int(args.act(args))
    except LabError as error:
        sys.stderr.write(f"wirt: {error.message}\n" + (f"  hint: {error.hint}\n" if error.hint else ""))
        if args.output == "json":
            _print({"api": "v1", "error": {"code": "lab", "message": error.message, "hint": error.hint}})
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wirt lab")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    actions = parser.add_subparsers(required=True)
    up = actions.add_parser("up")
    up.add_argument("--name", default="lab")
    up.add_argument("--hosts", type=int, default=3)
    up.add_argument("--dir", type=Path)
    up.add_argument("--bandwidth", default="1G")
    up.set_defaults(act=_up)
    actions.add_parser("list").set_defaults(act=_list)
    down = actions.add_parser("down")
    down.add_argument("--name", default="lab")
    down.set_defaults(act=_down)
    link = actions.add_parser("link")
    link.add_argument("host")
    link.add_argument("--name", default="lab")
    link.add_argument("--of", choices=LINKS, default=MIGRATION)
    link.add_argument("--bandwidth")
    link.add_argument("--cut", action="store_true")
    link.add_argument("--mend", action="store_true")
    link.set_defaults(act=_link)
    ping = actions.add_parser("ping")
    ping.add_argument("--name", default="lab")
    ping.add_argument("address")
    ping.set_defaults(act=_ping)
    execute = actions.add_parser("exec")
    execute.add_argument("--name", default="lab")
    execute.add_argument("place")
    execute.add_argument("command", nargs=argparse.REMAINDER)
    execute.set_defaults(act=_exec)
    return parser


def _up(args: argparse.Namespace) -> int:
    lab = Lab.up(args.name, args.hosts, args.dir, bits_per_s(args.bandwidth), _say)
    _show([lab], args)
    return 0


def _list(args: argparse.Namespace) -> int:
    _show([Lab.find(name) for name in state.names()], args)
    return 0


def _down(args: argparse.Namespace) -> int:
    Lab.find(args.name).down()
    if args.output == "json":
        _print({"api": "v1", "name": args.name, "removed": True})
    return 0


def _link(args: argparse.Namespace) -> int:
    if args.cut and args.mend:
        raise LabError("a link is either cut or mended", "--cut or --mend")
    if not (args.cut or args.mend or args.bandwidth):
        raise LabError("what is to be done with the link?", "--bandwidth RATE, --cut or --mend")
    lab = Lab.find(args.name)
    if args.bandwidth:
        rate = bits_per_s(args.bandwidth)
        lab.bandwidth(args.host, None if rate is None else rate // 8, args.of)
    if args.cut:
        lab.cut(args.host, args.of)
    if args.mend:
        lab.mend(args.host, args.of)
    if args.output == "json":
        _print({"api": "v1", "lab": lab.name, "host": args.host, "link": args.of})
    return 0


def _ping(args: argparse.Namespace) -> int:
    if not Lab.find(args.name).answers(args.address):
        raise LabError(f"{args.address} does not answer", "wirt lab link HOST --of guests --mend, if it is cut")
    if args.output == "json":
        _print({"api": "v1", "address": args.address, "answers": True})
    else:
        _say(f"{args.address} answers")
    return 0


def _exec(args: argparse.Namespace) -> int:
    command = args.command
    if not command:
        raise LabError("which command?", "wirt lab exec net -- ip address")
    lab = Lab.find(args.name)
    settings = {} if args.place == "net" else lab.host(args.place).environment
    words = [*lab.entered(args.place), *command]
    return subprocess.run(words, env={**os.environ, **settings}, check=False).returncode


def _show(labs: list[Lab], args: argparse.Namespace) -> None:
    if args.output == "json":
        _print({"api": "v1", "labs": [_document(lab) for lab in labs]})
        return
    for lab in labs:
        for host in lab.hosts:
            serves = "up" if host.serves() else "down"
            line = f"{lab.name:<16} {host.name:<4} {host.plan.address:<12} {serves:<5} {host.home}"
            sys.stdout.write(line + "\n")


def _document(lab: Lab) -> dict[str, object]:
    hosts = [
        {
            "name": host.name,
            "home": str(host.home),
            "address": host.plan.address,
            "namespace": host.namespace,
            "up": host.serves(),
        }
        for host in lab.hosts
    ]
    return {"name": lab.name, "directory": str(lab.plan.directory), "net": lab.plan.switches, "hosts": hosts}


def _print(document: object) -> None:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
