"""``wirt migrate`` and ``wirt migrations``: domains to other hosts, and what came of that."""

from __future__ import annotations

from wirt.cli.text import printable, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.client.errors import Json
    from wirt.wire.v1_migrations import MoveForecast, MovePlan, Receipt

READING_S = 3600.0
"""Both hosts may have to read what disks stand on, to see whether that is the same."""
HEADER = ("Domain", "From", "To", "When", "Took", "Blackout", "Memory sent", "Outcome")
EPILOG = """\
HOST is a peer that this host knows (wirt peer list), or ssh://[USER@]HOST[:PORT]. Everything that speaks against
the move is found before anything moves, and told with its remedy; --dry-run shows all of it, and a forecast.

The guest runs until little is left to send, stands still for a moment, and goes on there. Cancelled (Ctrl-C,
wirt jobs --cancel ID) or failed before that, it goes on here. Should the other host fall silent in just that
moment, the guest stands still until it says whether it has it; if it is lost for good, --take-back has the guest
go on here: never do that while the other host may run.

Several move side by side, as many as both hosts let (migrations-at-once in wirt.toml, 2 without it); the others
wait. One that can't move keeps no other from it; the exit code is 1 then, and the last line names it.

examples:
  wirt migrate web h2 --dry-run
  wirt migrate web h2
  wirt migrate web db mail h2 --at-once 1
  wirt migrate --all h2
  wirt migrate web ssh://root@h2 --with-storage --bandwidth 50M
  wirt migrations
"""


def options_migrate(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("domain", metavar="DOMAIN", nargs="+", help="name, ID or UUID; the last word is the HOST")
    parser.add_argument("--live", action="store_true", help="while it runs (this is what is done anyway)")
    parser.add_argument(
        "--offline", action="store_true", help="one that is off; one that runs is shut down, and started there"
    )
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=float,
        default=120.0,
        help="with --offline: for the shutdown; default: 120 s",
    )
    parser.add_argument("--with-storage", action="store_true", help="take the volumes along that it writes")
    parser.add_argument("--to-pool", metavar="POOL", help="put them into this pool of the other host")
    parser.add_argument("--keep", action="store_true", help="leave the volumes here as well, as they were")
    parser.add_argument("--all", action="store_true", help="all that run; with --offline, those that are off too")
    parser.add_argument("--at-once", metavar="N", type=int, help="of several, at most so many side by side")
    parser.add_argument("--flatten", action="store_true", help="make each volume one whole image there")
    parser.add_argument("-n", "--dry-run", action="store_true", help="show plan and forecast, and do nothing")
    parser.add_argument(
        "--bandwidth", metavar="RATE", help="at most so many bytes a second, as in 50M, all together"
    )
    parser.add_argument("--max-downtime", metavar="MS", type=int, default=300, help="default: 300 ms")
    parser.add_argument("--compress", action="store_true", help="send pages that changed little as differences")
    parser.add_argument(
        "--postcopy",
        choices=("auto", "never", "now"),
        default="never",
        help="go over early and fetch the rest while running there; a host or link that dies meanwhile takes the "
        "guest's memory with it",
    )
    parser.add_argument("--take-back", action="store_true", help="the other host is lost for good: go on here")


def run_migrate(args: Namespace, session: Session) -> int:
    from wirt.cli.arguments import usage_error

    if args.take_back:
        for ref in args.domain:
            _take_back(ref, session)
        return 0
    if args.at_once is not None and args.at_once < 1:
        usage_error(f"{args.at_once} at once are none")
    if len(args.domain) < 2 and not args.all:
        usage_error("wirt migrate takes a domain and a host")
    if args.all and len(args.domain) != 1:
        usage_error("wirt migrate --all takes a host and nothing else")
    *refs, target = args.domain
    if args.all:
        refs = _all(args, session)
        if not refs:
            session.say("No domain is here that could move.")
    if len(refs) > 1 and not args.dry_run:
        return _several(refs, target, args, session)
    documents = [_one(ref, target, args, session) for ref in refs]
    if session.json:
        session.document(documents[0] if len(documents) == 1 else {"api": "v1", "migrations": documents})
    return 0


def _all(args: Namespace, session: Session) -> list[str]:
    """The names of those that run; with ``--offline``, of those that are off too."""
    from wirt.client.decode import decode_list
    from wirt.wire.v1 import Domain

    document = session.api.domains(off_too=args.offline)
    found = [each for each in decode_list(Domain, document, "domains") if each.type != "host"]
    if not args.offline:
        return [each.name for each in found if each.state in ("running", "paused")]
    return [each.name for each in found if each.state in ("running", "off")]


def _several(refs: list[str], target: str, args: Namespace, session: Session) -> int:
    from uuid import uuid4

    from wirt.cli.migrate_many import Moves
    from wirt.client.api import domain_path
    from wirt.client.decode import decode
    from wirt.wire.v1_migrations import Receipt

    together = {"batch": uuid4().hex, "of": len(refs)}
    body = _body(target, args) | together | ({} if args.at_once is None else {"at_once": args.at_once})
    moves = Moves(session)

    def ended(document: Json) -> None:
        result = document.get("result")
        if not session.json and isinstance(result, dict):
            _show_receipt(decode(Receipt, result), session)

    moves.run(
        dict.fromkeys(refs), lambda ref: session.api.post(domain_path(ref, "migrate"), body, timeout_s=60.0), ended
    )
    if session.json:
        session.document(moves.document())
    else:
        moves.tell()
    return 1 if moves.failed() else 0


def _take_back(ref: str, session: Session) -> None:
    from wirt.cli.following import run_job
    from wirt.client.api import domain_path
    from wirt.client.errors import ApiProblem

    try:
        run_job(session, lambda: session.api.post(domain_path(ref, "migrate/take-back")))
    except ApiProblem:
        # The move itself has failed, which is what was asked for, if the guest goes on now.
        if session.api.domain(ref).get("state") not in ("running", "paused"):
            raise
    session.say(f"{printable(ref)} goes on here")


def _one(ref: str, target: str, args: Namespace, session: Session) -> Json:
    from wirt.cli.following import run_job
    from wirt.client.api import domain_path
    from wirt.client.decode import decode
    from wirt.wire.v1_migrations import MovePlan, Receipt

    body = _body(target, args)
    timeout_s = READING_S if args.with_storage else 60.0
    if args.dry_run:
        document = session.api.post(domain_path(ref, "migrate/plan"), body, timeout_s=timeout_s)
        if not session.json:
            _show_plan(decode(MovePlan, document), session)
        return document
    document = run_job(session, lambda: session.api.post(domain_path(ref, "migrate"), body, timeout_s=timeout_s))
    result = document.get("result")
    if not session.json and isinstance(result, dict):
        _show_receipt(decode(Receipt, result), session)
    return document


def _body(target: str, args: Namespace) -> dict[str, object]:
    body: dict[str, object] = {
        "target": target,
        "with_storage": args.with_storage,
        "keep": args.keep,
        "flatten": args.flatten,
        "max_downtime_ms": args.max_downtime,
        "compress": args.compress,
        "postcopy": args.postcopy,
    }
    body |= {"offline": True, "timeout_s": args.timeout} if args.offline else {}
    body |= {} if args.to_pool is None else {"to_pool": args.to_pool}
    body |= {} if args.bandwidth is None else {"bandwidth": args.bandwidth}
    return body


def _show_plan(plan: MovePlan, session: Session) -> None:
    from wirt.cli.volumes import human

    session.write(f"{printable(plan.domain)}: {printable(plan.source)} to {printable(plan.target)}\n")
    for remark in plan.remarks:
        word = "can't be: " if remark.blocks else "note: "
        session.write(f"  {word}{printable(remark.what)}\n")
        if remark.remedy:
            session.write(f"    {printable(remark.remedy)}\n")
    for disk in plan.disks:
        how = "both hosts have it" if disk.shared else f"copied into {printable(disk.volume or '')}"
        session.write(f"  disk {printable(disk.vdev)}: {how}\n")
        for layer in reversed(disk.layers):
            how = "copied" if layer.copied else "there already, with the same content"
            session.write(f"    on {printable(layer.volume)}: {how}\n")
    for file in plan.files:
        how = f"sent along ({human(file.length)})" if file.copied else f"{printable(file.path)} there is the same"
        session.write(f"  {printable(file.key)}: {how}\n")
    session.write(f"  forecast: {_forecast(plan.forecast)}\n    {printable(plan.forecast.why)}\n")
    session.write("  possible\n" if plan.possible else "  not possible so\n")


def _forecast(of: MoveForecast) -> str:
    from wirt.cli.volumes import human

    return f"{of.way}, {of.total_s:.1f} s, {human(of.sent_bytes)} sent, {_milliseconds(of.blackout_s)} blackout"


def _show_receipt(receipt: Receipt, session: Session) -> None:
    from wirt.cli.volumes import human

    if receipt.way == "offline":
        state = "runs there" if receipt.outcome == "runs" else f"is {printable(receipt.outcome)}"
        disks = f", with {human(receipt.disk_bytes)} of disks" if receipt.disk_bytes else ""
        session.write(f"{printable(receipt.domain)} is on {printable(receipt.target)}{disks}, and {state}\n")
        return
    fact = f"{receipt.total_s:.1f} s, {human(receipt.sent_bytes)} sent in {receipt.rounds} rounds"
    if receipt.disk_bytes:
        fact += f", {human(receipt.disk_bytes)} of disks"
    blackout = _milliseconds(receipt.blackout_s)
    session.write(f"{printable(receipt.domain)} is on {printable(receipt.target)}: {fact}, {blackout} blackout\n")
    if receipt.lost_frames:
        session.write(f"  {receipt.lost_frames} frames came for it while it stood still, and are lost\n")
    if receipt.clock_step_s is not None:
        session.write(f"  its clock was set by {_milliseconds(receipt.clock_step_s)}\n")
    if receipt.forecast is not None:
        session.write(f"  forecast was: {_forecast(receipt.forecast)}\n")


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.0f} ms"


def options_migrations(parser: Parser) -> None:
    parser.epilog = "What came of moves from this host and to it, oldest first, and how long guests stood still."


def run_migrations(args: Namespace, session: Session) -> int:
    from wirt.client.decode import decode_list
    from wirt.wire.v1_migrations import Receipt

    document = session.api.get("/v1/migrations")
    if session.json:
        session.document(document)
        return 0
    receipts = decode_list(Receipt, document, "migrations")
    if not receipts:
        session.say("No domain has moved yet: wirt migrate DOMAIN HOST moves one.")
        return 0
    session.write(table(HEADER, [_row(each) for each in receipts]))
    blackouts = sorted(each.blackout_s for each in receipts if each.blackout_s is not None)
    if len(blackouts) > 1:
        middle = _milliseconds(blackouts[len(blackouts) // 2])
        late = _milliseconds(blackouts[min(len(blackouts) - 1, int(len(blackouts) * 0.95))])
        longest = _milliseconds(blackouts[-1])
        session.say(f"blackouts: median {middle}, 95th percentile {late}, longest {longest}")
    return 0


def _row(of: Receipt) -> tuple[str, ...]:
    from wirt.cli.snapshots import when
    from wirt.cli.volumes import human

    return (
        of.domain,
        of.source,
        of.target,
        when(of.began_at),
        f"{of.total_s:.1f} s",
        _milliseconds(of.blackout_s),
        human(of.sent_bytes),
        of.outcome,
    )
