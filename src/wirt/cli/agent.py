"""``wirt agent`` and ``wirt set-time``: what a guest's own agent tells, and the host's time for its clock."""

from __future__ import annotations

from wirt.cli.text import printable
from wirt.client.api import domain_path
from wirt.client.decode import decode, decode_list
from wirt.wire.v1_agent import GuestAgent, GuestInterface, GuestTime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session

AGENT_EPILOG = """\
A guest has an agent when the package qemu-guest-agent is installed in it. All that is shown is the guest's word.
The exit code is 1 when no agent answers.

examples:
  wirt agent web
  wirt agent -o json web
"""

SET_TIME_EPILOG = """\
A guest's clock stands still while it is paused or saved. This sets it to the host's; the guest needs an agent.

example:
  wirt set-time web
"""

_WIDTH = 10


def options_agent(parser: Parser) -> None:
    parser.epilog = AGENT_EPILOG
    parser.add_argument("domain", metavar="DOMAIN", help="name, ID or UUID")


def options_set_time(parser: Parser) -> None:
    parser.epilog = SET_TIME_EPILOG
    parser.add_argument("domain", metavar="DOMAIN", help="name, ID or UUID")


def run_agent(args: Namespace, session: Session) -> int:
    document = session.api.get(domain_path(args.domain, "agent"))
    interfaces = decode_list(GuestInterface, document, "interfaces")
    agent = decode(GuestAgent, {**document, "interfaces": []})
    if session.json:
        session.document(document)
    elif agent.answers:
        session.write(format_agent(agent, interfaces))
    else:
        session.say(f"wirt: {agent.why}")
    return 0 if agent.answers else 1


def run_set_time(args: Namespace, session: Session) -> int:
    document = session.api.post(domain_path(args.domain, "agent/set-time"))
    time = decode(GuestTime, document)
    if session.json:
        session.document(document)
    else:
        session.say(f"the clock of {args.domain} is set to {_utc(time.time_s)}")
    return 0


def format_agent(agent: GuestAgent, interfaces: list[GuestInterface]) -> str:
    lines = [_line("agent", agent.version)]
    if agent.system:
        lines.append(_line("system", agent.system))
    if agent.kernel:
        lines.append(_line("kernel", agent.kernel))
    for card in interfaces:
        words = " ".join(part for part in (card.name, card.mac, *card.addresses) if part)
        lines.append(_line("interface", words))
    lines.append(_line("freezes", "yes" if "guest-fsfreeze-freeze" in agent.commands else "no"))
    return "".join(lines)


def _line(name: str, value: str) -> str:
    return f"{name:<{_WIDTH}}: {printable(value)}\n"


def _utc(seconds: float) -> str:
    from time import gmtime, strftime

    return strftime("%Y-%m-%d %H:%M:%S UTC", gmtime(seconds))
