"""``wirt stats``: what domains use, once."""

from __future__ import annotations

from wirt.cli.text import printable, table
from wirt.client import stats as calls
from wirt.client.decode import decode
from wirt.wire.v1_stats import StatsList

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.wire.v1_stats import DomainStats

HEADER = (
    *("Name", "ID", "CPU(%)", "Steal(%)", "Emul(%)", "CPU(s)", "Steal(s)", "Mem(M)", "Res(M)"),
    *("NetRX(k/s)", "NetTX(k/s)", "Reads(/s)", "Writes(/s)"),
)
OF_VCPUS = ("Name", "ID", "VCPU", "CPU", "CPU(%)", "Steal(%)", "CPU(s)", "Steal(s)")
EPILOG = """\
CPU(%) is of one CPU, and of all of a domain's threads; Emul(%) the part of it that no vCPU did. Steal is the time
for which vCPUs could have run and had no CPU. Mem is what the guest has, Res what that takes of the host. What is
not known is -, as are rates in a run's first seconds. -o json has more: each vCPU, disk and card.

examples:
  wirt stats                over the last second
  wirt stats --over 30 web  over the last 30 seconds
  wirt stats -o json
"""


def options_stats(parser: Parser) -> None:
    from wirt.cli.arguments import seconds

    parser.epilog = EPILOG
    parser.add_argument("domains", metavar="DOMAIN", nargs="*", help="name, ID or UUID (default: all that run)")
    parser.add_argument("--vcpus", action="store_true", help="a row for each vCPU")
    parser.add_argument(
        "--over",
        metavar="SECONDS",
        type=seconds,
        default=calls.SHORTEST_S,
        help="what rates are over, at most 60 (default: 1)",
    )


def run_stats(args: Namespace, session: Session) -> int:
    if args.over > calls.LONGEST_S:
        from wirt.cli.arguments import usage_error

        usage_error(f"--over: wirtd keeps {calls.LONGEST_S:g} seconds", "wirt stats --help")
    document = calls.stats(session.api, args.domains, args.over)
    if session.json:
        session.document(document)
        return 0
    found = decode(StatsList, document)
    rows = [row for domain in found.domains for row in (_vcpus(domain) if args.vcpus else [_row(domain)])]
    session.write(table(OF_VCPUS if args.vcpus else HEADER, rows))
    return 0


def _row(domain: DomainStats) -> tuple[str, ...]:
    return (
        *_who(domain),
        _number(domain.cpu_percent),
        _number(domain.steal_percent),
        _number(domain.emulator_percent),
        f"{domain.cpu_time_s:.1f}",
        _number(domain.steal_s),
        str(domain.memory_bytes >> 20),
        "-" if domain.resident_bytes is None else str(domain.resident_bytes >> 20),
        _sum([net.rx_bytes_per_s for net in domain.nets], 1024),
        _sum([net.tx_bytes_per_s for net in domain.nets], 1024),
        _sum([disk.reads_per_s for disk in domain.disks]),
        _sum([disk.writes_per_s for disk in domain.disks]),
    )


def _vcpus(domain: DomainStats) -> list[tuple[str, ...]]:
    return [
        (
            *_who(domain),
            str(vcpu.index),
            "-" if vcpu.cpu is None else str(vcpu.cpu),
            _number(vcpu.cpu_percent),
            _number(vcpu.steal_percent),
            f"{vcpu.cpu_time_s:.1f}",
            _number(vcpu.steal_s),
        )
        for vcpu in domain.vcpus
    ]


def _who(domain: DomainStats) -> tuple[str, str]:
    return printable(domain.name), "-" if domain.domid is None else str(domain.domid)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _sum(values: list[float | None], unit: int = 1) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known) / unit:.1f}" if known else "-"
