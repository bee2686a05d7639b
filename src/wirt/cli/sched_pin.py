"""``wirt vcpu-pin`` and ``wirt vcpu-set``, as xl has them (xl(1))."""

from __future__ import annotations

from wirt.client.api import domain_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.client.errors import Json

PIN = """\
CPUS and SOFT are CPUs of the host as xl.cfg writes them ("0-3,^2", "node:1", "all"), or - to leave what is. A
vCPU never runs outside of CPUS; of SOFT it rather does not, which the distributor follows where the setting
distribution is on. A domain that runs follows at once, and the record keeps it.

examples:
  wirt vcpu-pin web 0 2
  wirt vcpu-pin web all node:1
  wirt vcpu-pin web all - 0-3
"""


def options_vcpu_pin(parser: Parser) -> None:
    parser.epilog = PIN
    parser.add_argument("domain", metavar="DOMAIN", help="name, ID or UUID")
    parser.add_argument("vcpu", metavar="VCPU", help="a number from 0, or all")
    parser.add_argument("hard", metavar="CPUS", help="where it may run")
    parser.add_argument("soft", metavar="SOFT", nargs="?", default="-", help="where it should run if it can")


def options_vcpu_set(parser: Parser) -> None:
    parser.epilog = "A domain that runs keeps what it has: QEMU can end with its guest when a vCPU is taken out."
    parser.add_argument("domain", metavar="DOMAIN", help="name, ID or UUID")
    parser.add_argument("vcpus", metavar="COUNT", type=int, help="1 to maxvcpus")


def run_vcpu_pin(args: Namespace, session: Session) -> int:
    return _post(session, args.domain, "pin", {"vcpu": args.vcpu, "hard": args.hard, "soft": args.soft})


def run_vcpu_set(args: Namespace, session: Session) -> int:
    return _post(session, args.domain, "vcpus", {"vcpus": args.vcpus})


def _post(session: Session, ref: str, action: str, asked: Json) -> int:
    document = session.api.post(domain_path(ref, action), asked)
    if session.json:
        session.document(document)
    return 0
