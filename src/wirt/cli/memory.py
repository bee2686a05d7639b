"""``wirt mem-set``, ``mem-max`` and ``wirt memory plan``."""

from __future__ import annotations

import re

from wirt.cli.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session

SET_EPILOG = """\
MEM is in MiB, or with t, g, m, k or b at its end, as xl has it. A guest that runs gives memory back, or takes it,
through its balloon driver (virtio_balloon), between what it uses and the most that it can have (maxmem); beyond
what it was started with it is plugged in (wirt mem-max). What it really has then is told. It is kept in the
configuration: the next run begins with it.

examples:
  wirt mem-set web 256
  wirt mem-set web 1g
"""
MAX_EPILOG = """\
MEM as in wirt mem-set. A guest is started with this much, and gives back what is more than memory. While it runs
the most can be raised by what its configuration left room for (hotplug_memory): wirt mem-set then plugs it in.
Without such room this is for a domain that is off.

examples:
  wirt mem-max web 2g
  wirt mem-max web 6g && wirt mem-set web 6g
"""
PLAN_EPILOG = """\
Shows what each running guest holds, uses, and has really taken of the host's memory (Host), what it should have
between its guarantee (memory) and its most (maxmem), and the sums that prove that all of it fits into the host.
Nothing is done.

wirt memory nodes shows on which NUMA nodes of the host guests' memory lies, in MiB, and where it is to come from
when they are started: from the nodes of the CPUs that may run them.

examples:
  wirt memory plan
  wirt memory nodes
"""
_MEM = re.compile("([0-9]{1,15})([tgmkbTGMKB]?)")
_BITS = {"t": 40, "g": 30, "": 20, "m": 20, "k": 10, "b": 0}


def options_mem_set(parser: Parser) -> None:
    parser.epilog = SET_EPILOG
    parser.add_argument("domain", metavar="DOMAIN", help="name, ID or UUID")
    parser.add_argument("mem", metavar="MEM", help="what it is to hold")


def options_mem_max(parser: Parser) -> None:
    parser.epilog = MAX_EPILOG
    parser.add_argument("domain", metavar="DOMAIN", help="name, ID or UUID")
    parser.add_argument("mem", metavar="MEM", help="the most that it can have")


def options_memory(parser: Parser) -> None:
    parser.epilog = PLAN_EPILOG
    parser.add_argument("what", choices=("plan", "nodes"), help="plan: who has what, and the proof that it fits")


def run_mem_set(args: Namespace, session: Session) -> int:
    from wirt.cli.following import run_job
    from wirt.client.api import domain_path
    from wirt.client.decode import decode
    from wirt.wire.v1 import Job

    body: dict[str, object] = {"mib": mebibytes(args.mem)}
    path = domain_path(args.domain, "memory")
    document = run_job(session, lambda: session.api.post(path, body))
    if session.json:
        session.document(document)
        return 0
    result = decode(Job, document).result
    name, wanted, actual = (result.get(key) for key in ("name", "memory_mib", "actual_mib"))
    if actual is None:
        session.write(printable(f"{name} will have {wanted} MiB when it is started") + "\n")
    elif actual == wanted:
        session.write(printable(f"{name} has {actual} MiB") + "\n")
    else:
        session.write(printable(f"{name} has {actual} MiB so far, on its way to {wanted}") + "\n")
    return 0


def run_mem_max(args: Namespace, session: Session) -> int:
    from wirt.client.api import domain_path

    document = session.api.post(domain_path(args.domain, "maxmem"), {"mib": mebibytes(args.mem)})
    if session.json:
        session.document(document)
    return 0


def run_memory(args: Namespace, session: Session) -> int:
    from wirt.client.decode import decode
    from wirt.wire.v1_memory import MemoryPlan

    if args.what == "nodes":
        return _nodes(session)
    document = session.api.get("/v1/memory/plan")
    if session.json:
        session.document(document)
        return 0
    plan = decode(MemoryPlan, document)
    session.write(f"host {plan.total} MiB, {plan.reserve} kept for Domain-0, {plan.available} free for guests\n\n")
    session.write(f"{'Name':<24}{'Has':>7}{'Used':>7}{'Host':>7}{'Least':>7}{'Most':>7}{'Target':>8}  Why\n")
    for of in plan.guests:
        used, host = ("-" if each is None else str(each) for each in (of.used, of.resident))
        numbers = f"{of.has:>7}{used:>7}{host:>7}{of.guaranteed:>7}{of.most:>7}{of.target:>8}"
        session.write(f"{printable(of.name):<24}{numbers}  {printable(of.reason)}\n")
    session.write("\n")
    for proof in plan.proofs:
        session.write(f"{printable(proof.what)}:\n  {printable(proof.text)}\n")
    if plan.merged is not None:
        session.write(f"KSM saves {plan.merged} MiB now, which nothing above counts on\n")
    for remark in plan.remarks:
        session.say(remark)
    return 0


def _nodes(session: Session) -> int:
    from wirt.client.decode import decode
    from wirt.wire.v1_memory import MemoryNodes

    document = session.api.get("/v1/memory/nodes")
    if session.json:
        session.document(document)
        return 0
    found = decode(MemoryNodes, document)
    heads = "".join(f"{f'Node {of.node}':>10}" for of in found.nodes)
    session.write(f"{'Name':<24}{heads}  Wanted on\n")
    for name, row in (("(all)", [of.total for of in found.nodes]), ("(free)", [of.free for of in found.nodes])):
        session.write(f"{name:<24}{''.join(f'{mib:>10}' for mib in row)}\n")
    for guest in found.guests:
        wanted = ",".join(map(str, guest.wanted)) or "any"
        session.write(f"{printable(guest.name):<24}{''.join(f'{mib:>10}' for mib in guest.lies)}  {wanted}\n")
    for remark in found.remarks:
        session.say(remark)
    return 0


def mebibytes(text: str) -> int:
    """What xl's MEM says, in whole MiB."""
    from wirt.client.errors import ApiProblem

    match = _MEM.fullmatch(text)
    if match is None:
        raise ApiProblem(f"{text} is no size", code="bad-input", status=422, hint="as in 512, 512m or 1g")
    return int(match[1]) << _BITS[match[2].lower()] >> 20
