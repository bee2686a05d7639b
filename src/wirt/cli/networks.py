"""``wirt network-list``: a domain's network cards, and how to reach it through them."""

from __future__ import annotations

from wirt.cli.text import table
from wirt.client.decode import decode
from wirt.wire.v1 import DomainDetail, Forward, Vif

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session

HEADER = ("Idx", "Mac Addr.", "Model", "Kind", "Bridge", "Tap", "State", "Link", "Addresses", "Forwards")
COUNTED = ("Idx", "Mac Addr.", "Tap", "rx bytes", "packets", "dropped", "tx bytes", "packets", "dropped")


def options_network_list(parser: Parser) -> None:
    parser.epilog = "A forward 127.0.0.1:2222->22 means: the host's port 2222 leads to the guest's port 22."
    parser.add_argument("domains", metavar="DOMAIN", nargs="+", help="name, ID or UUID")
    parser.add_argument("--stats", action="store_true", help="what each card has received (rx) and sent (tx)")


def run_network_list(args: Namespace, session: Session) -> int:
    details = [session.api.domain(ref) for ref in args.domains]
    decoded = [decode(DomainDetail, detail).domain for detail in details]
    if session.json:
        documents = [
            {key: detail["domain"].get(key) for key in ("name", "uuid", "domid", "vifs")} for detail in details
        ]
        session.document({"api": "v1", "domains": documents})
    else:
        row, header = (_counted, COUNTED) if args.stats else (_row, HEADER)
        session.write(table(header, [row(vif) for domain in decoded for vif in domain.vifs]))
    return 0


def _row(vif: Vif) -> tuple[str, ...]:
    return (
        str(vif.index),
        vif.mac,
        vif.model,
        vif.kind,
        vif.bridge or "-",
        vif.tap or "-",
        vif.state or "-",
        vif.link or "-",
        ",".join(vif.addresses) or "-",
        ",".join(_forward(forward) for forward in vif.forwards) or "-",
    )


def _counted(vif: Vif) -> tuple[str, ...]:
    """User-mode cards and those that are not there have no tap that counts."""
    counted = vif.statistics
    if counted is None:
        return (str(vif.index), vif.mac, vif.tap or "-", *["-"] * 6)
    received = (counted.rx_bytes, counted.rx_packets, counted.rx_dropped)
    sent = (counted.tx_bytes, counted.tx_packets, counted.tx_dropped)
    return (str(vif.index), vif.mac, vif.tap or "-", *map(str, (*received, *sent)))


def _forward(forward: Forward) -> str:
    return f"{forward.protocol}:{forward.host_address}:{forward.host_port}->{forward.guest_port}"
