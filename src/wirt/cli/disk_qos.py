"""``wirt disk-qos``: how much a guest may ask of its disks."""

from __future__ import annotations

from wirt.cli.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session

EPILOG = """\
Limits are kept in the configuration (wirt help keys disk) and hold at once if the domain runs: for its start, and
wherever its disks or itself move. What is not named stays as it is. 0 takes a limit away. A burst may exceed the
limit for so many seconds as --burst-seconds says, and has to be earned again by asking for less. Disks of one
domain in one group share what the group's limits allow; one of them names those.

examples:
  wirt disk-qos web                            show the limits of all its disks
  wirt disk-qos web xvda --iops 100 --iops-burst 500 --burst-seconds 10
  wirt disk-qos web xvda --bps-write 10M       bytes a second: K, M and G count in 1024s
  wirt disk-qos web xvdb --group data          share the limits of the group data
  wirt disk-qos web xvda --none                no limits any more
  wirt disk-qos web --weight 200               of each disk that others want too, twice what 100 gets
"""
_MEASURES = ("iops", "iops-read", "iops-write", "bps", "bps-read", "bps-write")


def options_disk_qos(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("domain", metavar="DOMAIN", help="name, ID or UUID")
    parser.add_argument("vdev", metavar="VDEV", nargs="?", help="the disk, as the configuration calls it: xvda")
    for measure in _MEASURES:
        what, _, direction = measure.partition("-")
        unit = "requests" if what == "iops" else "bytes"
        of = {"": "", "read": " of reading", "write": " of writing"}[direction]
        parser.add_argument(f"--{measure}", metavar="N", help=f"{unit} a second{of}")
        parser.add_argument(f"--{measure}-burst", metavar="N", help=f"for a while so many {unit} a second{of}")
    parser.add_argument("--burst-seconds", metavar="S", help="how long a burst may last (default 1)")
    parser.add_argument("--group", metavar="NAME", dest="qos_group", help="share limits; empty to leave the group")
    parser.add_argument("--weight", metavar="N", help="1 to 1000, without VDEV; none takes it away (100 unasked)")
    parser.add_argument("--none", action="store_true", help="nothing of the limits till now is kept")


def run_disk_qos(args: Namespace, session: Session) -> int:
    from wirt.cli.following import run_job
    from wirt.client.api import domain_path
    from wirt.client.errors import ApiProblem
    from wirt.client.http import quote

    names = (*(f"{each}{end}" for each in _MEASURES for end in ("", "-burst")), "burst-seconds", "qos-group")
    given = {name: getattr(args, name.replace("-", "_")) for name in names}
    words = {name: value for name, value in given.items() if value is not None}
    if args.weight is not None:
        from wirt.cli.arguments import usage_error
        from wirt.cli.weights import weigh

        if words or args.none or args.vdev is not None:
            usage_error("a weight is a whole domain's: wirt disk-qos DOMAIN --weight N, and nothing else with it")
        return weigh(session, args.domain, "disk-weight", args.weight)
    if args.vdev is None:
        if words or args.none:
            raise ApiProblem(
                "say which disk is to be limited: wirt disk-qos DOMAIN VDEV ...", code="bad-input", status=422
            )
        return _show(session, args.domain)
    if not words and not args.none:
        return _show(session, args.domain, args.vdev)
    path = domain_path(args.domain, f"disk-qos/{quote(args.vdev)}")
    body: dict[str, object] = {"words": words, "anew": args.none}
    document = run_job(session, lambda: session.api.post(path, body))
    if session.json:
        session.document(document)
    return 0


def _show(session: Session, domain: str, vdev: str | None = None) -> int:
    from wirt.client.api import domain_path
    from wirt.client.decode import decode
    from wirt.client.errors import ApiProblem
    from wirt.wire.v1_diskqos import DiskLimitsList

    document = session.api.get(domain_path(domain, "disk-qos"))
    found = decode(DiskLimitsList, document)
    rows = [disk for disk in found.disks if vdev in (None, disk.vdev)]
    if vdev is not None and not rows:
        known = ", ".join(disk.vdev for disk in found.disks) or "none"
        raise ApiProblem(
            f"domain {domain} has no disk {vdev} that can be limited",
            code="not-found",
            status=404,
            hint=f"it has {known}",
        )
    if session.json:
        session.document(document)
        return 0
    for disk in rows:
        own = {**disk.own, **disk.of_class}
        session.write(f"{printable(disk.vdev):<8}{_line(disk.now if disk.runs else own)}\n")
        if disk.of_class:
            session.write(f"        of its class: {_line(disk.of_class)}\n")
        if disk.runs and disk.now != own and "qos-group" not in disk.own:
            session.write(f"        the configuration says: {_line(disk.own)}\n")
    return 0


def _line(words: dict[str, object]) -> str:
    return printable(" ".join(f"{word}={value}" for word, value in words.items())) or "no limits"
