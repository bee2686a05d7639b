"""``wirt info``: ``name : value`` lines with xl's names where xl has them (xen tools/xl/xl_info.c)."""

from __future__ import annotations

from dataclasses import fields

from wirt.cli.text import duration, printable
from wirt.client.decode import decode
from wirt.wire.v1 import Claim, Info

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session

_WIDTH = 23
_CLAIM = 13


def options_info(parser: Parser) -> None:
    parser.epilog = "accelerator_reason says why guests run on KVM, or why they don't. Memory is in MiB."


def run_info(args: Namespace, session: Session) -> int:
    document = session.api.get("/v1/info")
    info = decode(Info, document)
    if session.json:
        session.document(document)
    else:
        session.write(format_info(info))
    return 0


def format_info(info: Info) -> str:
    lines: list[str] = []
    for spec in fields(Info):
        value = getattr(info, spec.name)
        if spec.name == "api" or (spec.name in ("scheduling", "memory") and not value):
            continue
        if spec.name == "notes":
            lines += [_line("note", note) for note in value]
        elif spec.name == "sandbox":
            lines += [_line("jail", _claim(claim)) for claim in value]
        elif spec.name == "daemon_uptime_s":
            lines.append(_line("daemon_uptime", duration(value).strip()))
        elif isinstance(value, list):
            lines.append(_line(spec.name, " ".join(value)))
        else:
            lines.append(_line(spec.name, str(value)))
    return "".join(lines)


def _claim(claim: Claim) -> str:
    return f"{claim.name + ',':<{_CLAIM}} {'holds' if claim.holds else 'does not hold'}: {claim.sentence}"


def _line(name: str, value: str) -> str:
    return f"{name:<{_WIDTH}}: {printable(value)}\n"
