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
SET = """\
COUNT is from 1 to maxvcpus. A guest that runs has them at once: what it lacks is plugged in, and its agent
(qemu-guest-agent) brings vCPUs online or takes them offline, the last ones first. QEMU takes none out again: it
stays in the run, unused, until that ends, and wirt vcpu-list shows it with the flag p. It is kept in the
configuration: the next run begins with COUNT.

examples:
  wirt vcpu-set web 4
  wirt vcpu-set web 1
"""


def options_vcpu_pin(parser: Parser) -> None:
    parser.epilog = PIN
    parser.add_argument("domain", metavar="DOMAIN", help="name, ID or UUID")
    parser.add_argument("vcpu", metavar="VCPU", help="a number from 0, or all")
    parser.add_argument("hard", metavar="CPUS", help="where it may run")
    parser.add_argument("soft", metavar="SOFT", nargs="?", default="-", help="where it should run if it can")


def options_vcpu_set(parser: Parser) -> None:
    parser.epilog = SET
    parser.add_argument("domain", metavar="DOMAIN", help="name, ID or UUID")
    parser.add_argument("vcpus", metavar="COUNT", type=int, help="1 to maxvcpus")


def run_vcpu_pin(args: Namespace, session: Session) -> int:
    return _post(session, args.domain, "pin", {"vcpu": args.vcpu, "hard": args.hard, "soft": args.soft})


def run_vcpu_set(args: Namespace, session: Session) -> int:
    from wirt.cli.following import run_job
    from wirt.client.decode import decode
    from wirt.wire.v1 import Job

    body: dict[str, Json] = {"vcpus": args.vcpus}
    document = run_job(session, lambda: session.api.post(domain_path(args.domain, "vcpus"), body))
    if session.json:
        session.document(document)
        return 0
    result = decode(Job, document).result
    unused = int(result.get("present", 0)) - int(result.get("vcpus", 0))
    if unused > 0:
        session.say(f"{unused} more stay in the run, unused, until {result.get('name')} is started anew")
    return 0


def _post(session: Session, ref: str, action: str, asked: Json) -> int:
    document = session.api.post(domain_path(ref, action), asked)
    if session.json:
        session.document(document)
    return 0
