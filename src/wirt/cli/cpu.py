"""``wirt cpu``: which CPUs guests can have here, and which on each of several hosts."""

from __future__ import annotations

from wirt.cli.text import printable, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.wire.v1_cpu import CpuBaseline, CpuModel, HostCpu

HEADER = ("Model", "Features", "Lacks")
ACTIONS = ("list", "baseline")
SHOWN = 6
EPILOG = """\
A guest moves only to a host that can give it all that its CPU has. What it has is chosen when it starts:
cpu_model in its configuration, cpu-model in wirt.toml, else the host's own CPU under KVM, and under emulation
what every supported QEMU emulates.

  list                   the models that this host can give guests, and what it lacks for others
  baseline [HOST...]     the largest CPU that this host and the HOSTs (all peers, without any) can give, as a
                         line for a configuration, and which host holds it back. A host that can't be asked is
                         named, and the exit code is 1.

examples:
  wirt cpu list
  wirt cpu baseline
  wirt cpu baseline h2 ssh://root@h3 >>web.cfg
"""


def options_cpu(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("host", metavar="HOST", nargs="*", help="for baseline: peers, or ssh://[USER@]HOST[:PORT]")


def run_cpu(args: Namespace, session: Session) -> int:
    from wirt.cli.arguments import usage_error

    if args.action == "list":
        if args.host:
            usage_error("wirt cpu list is about this host", "wirt cpu --help")
        return _list(session)
    return _baseline(args.host, session)


def _list(session: Session) -> int:
    from wirt.client.decode import decode
    from wirt.wire.v1_cpu import HostCpu

    document = session.api.get("/v1/cpu", timeout_s=60.0)
    if session.json:
        session.document(document)
        return 0
    found = decode(HostCpu, document)
    session.write(table(HEADER, [_row(model) for model in found.models]))
    _tell_host(found, session)
    return 0


def _tell_host(found: HostCpu, session: Session) -> None:
    session.say(f"without cpu_model a domain here gets {printable(found.default)}; all that there is:")
    session.say(f"  {printable(' '.join(found.features))}")


def _row(model: CpuModel) -> tuple[str, ...]:
    return printable(model.name), str(len(model.features)) if not model.missing else "-", _some(model.missing)


def _some(features: list[str]) -> str:
    more = f" and {len(features) - SHOWN} more" if len(features) > SHOWN else ""
    return printable(" ".join(features[:SHOWN]) + more)


def _baseline(hosts: list[str], session: Session) -> int:
    from wirt.client.decode import decode
    from wirt.wire.v1_cpu import CpuBaseline

    document = session.api.post("/v1/cpu/baseline", {"hosts": hosts}, timeout_s=60.0)
    found = decode(CpuBaseline, document)
    if session.json:
        session.document(document)
    else:
        session.write(f'cpu_model = "{printable(found.cpu_model)}"\n')
        _tell_hosts(found, session)
    return 1 if found.not_asked else 0


def _tell_hosts(found: CpuBaseline, session: Session) -> None:
    session.say(f"{len(found.features)} features, which {printable(', '.join(found.hosts))} can give")
    for each in found.held_back:
        session.say(f"{printable(each.host)} holds back: {printable(' '.join(each.features))}")
    for host in found.not_asked:
        session.say(f"{printable(host.host)} was not asked, and may lack some: {printable(host.reason)}")
    for remark in found.remarks:
        session.say(printable(remark))
