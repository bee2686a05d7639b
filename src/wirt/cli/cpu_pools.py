"""``wirt cpupool-*``: xl's verbs, options and columns (xen tools/xl/xl_cpupool.c)."""

from __future__ import annotations

from wirt.cli.text import printable
from wirt.client.api import domain_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.wire.v1_cpu_pools import CpuPool

ROUTE = "/v1/cpu-pools"
CREATE = """\
FILE is a pool as xl takes it: name, cpus or nodes, sched (credit or credit2). KEY=VALUE says a key anew, or all of
them without a file. The CPUs come from Pool-0, which keeps at least one.

examples:
  wirt cpupool-create name=fast cpus=2-3
  wirt cpupool-create name=second nodes=1
  wirt create web.cfg pool=fast
"""


def options_cpupool_list(parser: Parser) -> None:
    parser.add_argument("name", metavar="POOL", nargs="?", help="this one only")
    parser.add_argument("-c", "--cpus", action="store_true", help="which CPUs each has")


def options_cpupool_create(parser: Parser) -> None:
    parser.epilog = CREATE
    parser.add_argument("words", metavar="FILE | KEY=VALUE", nargs="+", help="what the pool is to be")


def options_cpupool_destroy(parser: Parser) -> None:
    parser.epilog = "Its CPUs are Pool-0's again. Refused while a domain names it, also one that is off."
    parser.add_argument("name", metavar="POOL", help="the pool's name")


def options_cpupool_cpu_add(parser: Parser) -> None:
    parser.epilog = "The CPUs are taken from Pool-0."
    parser.add_argument("name", metavar="POOL", help="the pool's name")
    parser.add_argument("cpus", metavar="CPUS", help='as in "2", "2-3" or "node:1"')


def options_cpupool_cpu_remove(parser: Parser) -> None:
    parser.epilog = "The CPUs are Pool-0's again."
    parser.add_argument("name", metavar="POOL", help="the pool's name")
    parser.add_argument("cpus", metavar="CPUS", help='as in "2", "2-3" or "node:1"')


def options_cpupool_migrate(parser: Parser) -> None:
    parser.epilog = "A domain that runs goes there at once; the record keeps it."
    parser.add_argument("domain", metavar="DOMAIN", help="name, ID or UUID")
    parser.add_argument("name", metavar="POOL", help="the pool's name")


def run_cpupool_list(args: Namespace, session: Session) -> int:
    from wirt.client.decode import decode_list
    from wirt.client.errors import ApiProblem
    from wirt.wire.v1_cpu_pools import CpuPool

    document = session.api.get(ROUTE)
    pools = [pool for pool in decode_list(CpuPool, document, "pools") if args.name in (None, pool.name)]
    if not pools:
        raise ApiProblem(f"there is no CPU pool {args.name}", code="not-found", status=404)
    if session.json:
        session.document({**document, "pools": [p for p in document["pools"] if args.name in (None, p["name"])]})
        return 0
    header = "CPU list" if args.cpus else "CPUs   Sched     Active   Domain count"
    session.write(f"{'Name':<19}{header}\n" + "".join(_row(pool, cpus=args.cpus) for pool in pools))
    return 0


def _row(pool: CpuPool, *, cpus: bool) -> str:
    if cpus:
        return f"{printable(pool.name):<19}{printable(pool.cpus)}\n"
    return f"{printable(pool.name):<19}{pool.count:3d} {'credit':>9}       y       {pool.running:4d}\n"


def run_cpupool_create(args: Namespace, session: Session) -> int:
    text, words = "", list(args.words)
    if "=" not in words[0]:
        from wirt.cli.create import read_config

        text = read_config(words.pop(0))
    session.api.post(ROUTE, {"text": text, "overrides": words})
    return _done(session, "created", "")


def run_cpupool_destroy(args: Namespace, session: Session) -> int:
    session.api.delete(_route(args.name))
    return _done(session, "destroyed", args.name)


def run_cpupool_cpu_add(args: Namespace, session: Session) -> int:
    session.api.post(f"{_route(args.name)}/add", {"cpus": args.cpus})
    return _done(session, "changed", args.name)


def run_cpupool_cpu_remove(args: Namespace, session: Session) -> int:
    session.api.post(f"{_route(args.name)}/remove", {"cpus": args.cpus})
    return _done(session, "changed", args.name)


def run_cpupool_migrate(args: Namespace, session: Session) -> int:
    session.api.post(domain_path(args.domain, "cpu-pool"), {"pool": args.name})
    return _done(session, "migrated", args.name)


def _route(name: str) -> str:
    from wirt.client.errors import ApiProblem
    from wirt.client.http import quote

    if not name:
        raise ApiProblem("a CPU pool's name can't be empty", code="bad-input", status=422)
    return f"{ROUTE}/{quote(name)}"


def _done(session: Session, what: str, name: str) -> int:
    if session.json:
        session.document({"api": "v1", "name": name, what: True} if name else {"api": "v1", what: True})
    return 0
