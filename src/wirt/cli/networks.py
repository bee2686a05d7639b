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

HEADER = ("Idx", "Mac Addr.", "Model", "Kind", "Bridge", "Tap", "Addresses", "Forwards")


def options_network_list(parser: Parser) -> None:
    parser.epilog = "A forward 127.0.0.1:2222->22 means: the host's port 2222 leads to the guest's port 22."
    parser.add_argument("domains", metavar="DOMAIN", nargs="+", help="name, ID or UUID")


def run_network_list(args: Namespace, session: Session) -> int:
    details = [session.api.domain(ref) for ref in args.domains]
    decoded = [decode(DomainDetail, detail).domain for detail in details]
    if session.json:
        documents = [
            {key: detail["domain"].get(key) for key in ("name", "uuid", "domid", "vifs")} for detail in details
        ]
        session.document({"api": "v1", "domains": documents})
    else:
        session.write(table(HEADER, [_row(vif) for domain in decoded for vif in domain.vifs]))
    return 0


def _row(vif: Vif) -> tuple[str, ...]:
    return (
        str(vif.index),
        vif.mac,
        vif.model,
        vif.kind,
        vif.bridge or "-",
        vif.tap or "-",
        ",".join(vif.addresses) or "-",
        ",".join(_forward(forward) for forward in vif.forwards) or "-",
    )


def _forward(forward: Forward) -> str:
    return f"{forward.protocol}:{forward.host_address}:{forward.host_port}->{forward.guest_port}"
