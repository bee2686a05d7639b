"""``wirt vcpu-list``: xl's columns (xen tools/xl/xl_vcpu.c, print_vcpuinfo)."""

from __future__ import annotations

from wirt.cli.text import printable
from wirt.client.api import domain_query
from wirt.client.decode import decode_list
from wirt.wire.v1 import Vcpu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session

HEADER = "Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)"


def options_vcpu_list(parser: Parser) -> None:
    parser.add_argument("domains", metavar="DOMAIN", nargs="*", help="name, ID or UUID (default: all that run)")


def run_vcpu_list(args: Namespace, session: Session) -> int:
    documents = [session.api.get("/v1/vcpus" + domain_query(ref)) for ref in args.domains or [None]]
    vcpus = [vcpu for document in documents for vcpu in decode_list(Vcpu, document, "vcpus")]
    if session.json:
        session.document({**documents[0], "vcpus": [vcpu for document in documents for vcpu in document["vcpus"]]})
    else:
        session.write("\n".join([HEADER, *(format_vcpu(vcpu) for vcpu in vcpus)]) + "\n")
    return 0


def format_vcpu(vcpu: Vcpu) -> str:
    """One row; a vCPU that is on no CPU shows ``-``. The missing blank before the CPU is xl's."""
    cpu = "-" if vcpu.cpu is None else str(vcpu.cpu)
    return (
        f"{printable(vcpu.domain):<32} {vcpu.domid:5d} {vcpu.index:5d}{cpu:>5} {printable(vcpu.flags):>5}"
        f" {vcpu.cpu_time_s:9.1f}  {printable(vcpu.affinity_hard)} / {printable(vcpu.affinity_soft)}"
    )
