"""``wirt backup`` and ``wirt restore-backup``: copies of domains' disks, as they were at an instant."""

from __future__ import annotations

from wirt.cli.text import printable, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.client.errors import Json
    from wirt.wire.v1_backup import Backup

ROUTE, PRUNE_ROUTE = "/v1/backups", "/v1/backup-prune"
HEADER = ("Backup", "Domain", "Made", "Kind", "Consistency", "Size", "Stored")
_MEANS = {
    "filesystem": "the guest held its file systems",
    "crash": "as after a power failure",
    "off": "the domain was off",
}
ACTIONS = ("create", "list", "info", "verify", "destroy", "prune")
EPILOG = """\
  create DOMAIN    back up its disks, running or not: what has changed since its last backup there, else all
                   (--to, --full, --rate)
  list             those that this host knows of, or those in one place (--from)
  info BACKUP      one, with its disks and configuration
  verify BACKUP    compare all checksums; with --boot a copy without a network comes up, and is removed again
                   (--pool, --expect, --timeout)
  destroy BACKUP   forget it, and remove what only it needed
  prune [DOMAIN]   forget what is not to be kept (--keep-last, --keep-daily, --keep-weekly, --keep-monthly);
                   the newest backup of a domain always stays (-n shows the plan)

A place is a directory, or a pool of files; without one it is that of the pool default.

examples:
  wirt backup create web --to /srv/backups --rate 50M
  wirt backup list --from /srv/backups
  wirt backup verify web-20260101T000000Z-abc123 --boot
  wirt backup prune --from /srv/backups --keep-last 3 --keep-daily 7 --keep-weekly 4
"""
EPILOG_RESTORE = """\
New volumes get what the disks held, and a new domain, which is off, has them. --replace gives them to the domain
that the backup is of, which must be off; its old volumes stay where they are. --disk restores that disk alone.

examples:
  wirt restore-backup web-20260101T000000Z-abc123 --name web2
  wirt restore-backup web-20260101T000000Z-abc123 --replace
  wirt restore-backup web-20260101T000000Z-abc123 --disk xvdb --pool fast
"""
_FOR = {
    "to": ("create",),
    "full": ("create",),
    "rate": ("create",),
    "source": ("list", "info", "verify", "destroy", "prune"),
    "boot": ("verify",),
    "pool": ("verify",),
    "expect": ("verify",),
    "timeout": ("verify",),
    "last": ("prune",),
    "daily": ("prune",),
    "weekly": ("prune",),
    "monthly": ("prune",),
    "dryrun": ("prune",),
}
_WORDS = {"source": "from", "last": "keep-last", "daily": "keep-daily", "weekly": "keep-weekly"}
_WORDS |= {"monthly": "keep-monthly", "dryrun": "dry-run"}


def options_backup(parser: Parser) -> None:
    parser.epilog = EPILOG
    add = parser.add_argument
    add("action", choices=ACTIONS)
    add("what", metavar="DOMAIN|BACKUP", nargs="?", help="for create and prune a domain, else a backup's ID")
    add("--to", metavar="DIR|POOL", help="create: where it is kept")
    add("--full", action="store_true", default=None, help="create: all, whatever has changed")
    add("--rate", metavar="SIZE", help="create: bytes a second that are read at most, as in 50M")
    add("--from", dest="source", metavar="DIR|POOL", help="the place to look in")
    add("--boot", action="store_true", default=None, help="verify: start a copy, isolated, and remove it again")
    add("--pool", metavar="POOL", help="verify: where the disks of the copy live (default: default)")
    add("--expect", metavar="REGEX", help="verify: what its console shows once it is up (default: login:|ready)")
    add("--timeout", metavar="SECONDS", type=float, help="verify: how long that may take (default: 600)")
    for word, text in (("last", "the last N"), ("daily", "the last one of each of N days")):
        add(f"--keep-{word}", dest=word, metavar="N", type=int, help=f"prune: keep {text}")
    for word in ("weekly", "monthly"):
        add(f"--keep-{word}", dest=word, metavar="N", type=int, help=f"prune: and of N {word[:-2]}s")
    add("-n", "--dryrun", "--dry-run", action="store_true", default=None, help="prune: show the plan, do nothing")


def options_restore_backup(parser: Parser) -> None:
    parser.epilog = EPILOG_RESTORE
    parser.add_argument("backup", metavar="BACKUP", help="its ID, as wirt backup list shows it")
    parser.add_argument("--from", dest="source", metavar="DIR|POOL", help="the place that it is in")
    parser.add_argument("--name", metavar="NAME", help="of the new domain (default: as it was called)")
    parser.add_argument("--pool", metavar="POOL", help="where its disks will live (default: default)")
    parser.add_argument("--disk", metavar="VDEV", help="this disk only, and no domain")
    parser.add_argument("--replace", action="store_true", help="give the disks to the domain that it is of")


def run_backup(args: Namespace, session: Session) -> int:
    _check(args)
    if args.action == "list":
        return _list(session, session.api.get(_target(ROUTE, args)))
    if args.action == "info":
        return _info(session, session.api.get(_target(_route(args.what), args)))
    if args.action == "prune":
        return _prune(args, session)
    return {"create": _create, "verify": _verify, "destroy": _destroy}[args.action](args, session)


def run_restore_backup(args: Namespace, session: Session) -> int:
    from wirt.cli.arguments import usage_error
    from wirt.cli.following import run_job

    if args.disk and (args.name or args.replace):
        usage_error("--disk makes no domain: leave --name and --replace out")
    if args.name and args.replace:
        usage_error("--replace keeps the domain's name: leave --name out")
    request = _place(args) | {each: getattr(args, each) for each in ("name", "pool", "disk", "replace")}
    document = run_job(session, lambda: session.api.post(f"{_route(args.backup)}/restore", request))
    if session.json:
        session.document(document)
        return 0
    result = _result(document)
    volumes = result.get("volumes")
    for vdev, volume in (volumes if isinstance(volumes, dict) else {}).items():
        session.write(f"{printable(str(vdev))}: {printable(str(volume))}\n")
    if result.get("domain"):
        session.write(f"domain {printable(str(result['domain']))} is there, and off\n")
    left = result.get("left")
    for each in left if isinstance(left, list) else ():
        session.say(f"wirt: its old disk {printable(str(each))} stays as it is")
    return 0


def _check(args: Namespace) -> None:
    from wirt.cli.arguments import usage_error

    if args.action in ("create", "info", "verify", "destroy") and not args.what:
        usage_error(f"of what? wirt backup {args.action} {'DOMAIN' if args.action == 'create' else 'BACKUP'}")
    if args.action == "list" and args.what:
        usage_error("wirt backup list takes nothing more; --from names a place")
    for name, actions in _FOR.items():
        if getattr(args, name) is not None and args.action not in actions:
            usage_error(f"--{_WORDS.get(name, name)} is for {' and '.join(actions)}, not for {args.action}")
    if args.boot is None and (args.pool or args.expect or args.timeout):
        usage_error("--pool, --expect and --timeout go with --boot")


def _create(args: Namespace, session: Session) -> int:
    from wirt.cli.following import run_job
    from wirt.cli.volumes import human
    from wirt.client.api import domain_path

    request = {"to": args.to, "cwd": _cwd(), "full": bool(args.full), "bytes_per_s": args.rate}
    document = run_job(session, lambda: session.api.post(domain_path(args.what, "backup"), request))
    if session.json:
        session.document(document)
        return 0
    result = _result(document)
    why = f" ({printable(str(result['reason']))})" if result.get("reason") else ""
    moved, stored = (human(_int(result.get(each))) for each in ("moved", "stored"))
    session.write(
        f"{printable(str(result.get('backup')))}: {result.get('kind')}{why}, {moved} read, {stored} stored\n"
    )
    if result.get("consistency") == "crash":
        session.say("wirt: the guest did not hold its file systems: they are as after a power failure")
    return 0


def _verify(args: Namespace, session: Session) -> int:
    from wirt.cli.following import run_job
    from wirt.cli.volumes import human

    request = _place(args) | {"boot": bool(args.boot), "pool": args.pool, "expect": args.expect}
    request["timeout_s"] = args.timeout
    document = run_job(session, lambda: session.api.post(f"{_route(args.what)}/verify", request))
    if session.json:
        session.document(document)
        return 0
    result, name = _result(document), printable(args.what)
    if args.boot:
        seen = printable(str(result.get("seen")))
        session.write(f"{name}: ready {result.get('ready_s')} s after its start ({seen!r})\n")
    else:
        session.write(f"{name}: all of its checksums are right, {human(_int(result.get('bytes')))}\n")
    return 0


def _destroy(args: Namespace, session: Session) -> int:
    from wirt.cli.following import run_job

    return _freed(
        session, run_job(session, lambda: session.api.post(f"{_route(args.what)}/destroy", _place(args)))
    )


def _prune(args: Namespace, session: Session) -> int:
    from wirt.cli.arguments import usage_error
    from wirt.cli.following import run_job

    keep = {each: getattr(args, each) or 0 for each in ("last", "daily", "weekly", "monthly")}
    if not any(keep.values()):
        usage_error("what is to be kept? --keep-last N, --keep-daily N, --keep-weekly N, --keep-monthly N")
    request = _place(args) | keep | {"domain": args.what, "dry_run": bool(args.dryrun)}
    if args.dryrun:
        return _list(session, session.api.post(PRUNE_ROUTE, request))
    return _freed(session, run_job(session, lambda: session.api.post(PRUNE_ROUTE, request)))


def _freed(session: Session, document: Json) -> int:
    from wirt.cli.volumes import human

    if session.json:
        session.document(document)
        return 0
    result = _result(document)
    gone = result.get("backups")
    for each in gone if isinstance(gone, list) else ():
        session.write(f"{printable(str(each))} is forgotten\n")
    session.write(f"{human(_int(result.get('bytes')))} are free again\n")
    return 0


def _list(session: Session, document: Json) -> int:
    from wirt.client.decode import decode_list
    from wirt.wire.v1_backup import Backup

    if session.json:
        session.document(document)
        return 0
    session.write(table(HEADER, [_row(each) for each in decode_list(Backup, document, "backups")]))
    problems = document.get("problems")
    for each in problems if isinstance(problems, list) else ():
        session.say(f"wirt: {printable(str(each))}")
    return 0


def _row(backup: Backup) -> tuple[str, ...]:
    from wirt.cli.volumes import human

    sizes = (human(backup.size), human(backup.stored))
    return (backup.id, backup.domain, _time(backup.created_at), backup.kind, backup.consistency or "-", *sizes)


def _time(at: float) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _info(session: Session, document: Json) -> int:
    from wirt.cli.volumes import human
    from wirt.client.decode import decode, decode_list
    from wirt.wire.v1_backup import Backup, BackupDisk

    if session.json:
        session.document(document)
        return 0
    backup = decode(Backup, document.get("backup"))
    facts = [
        ("backup", backup.id),
        ("domain", f"{backup.domain} ({backup.uuid})"),
        ("made", f"{_time(backup.created_at)} on {backup.host}, {backup.hypervisor}"),
        ("domain was", backup.state),
        ("kind", f"{backup.kind} ({backup.reason})" if backup.reason else backup.kind),
        ("consistency", _consistency(backup.consistency)),
        ("begins from", backup.parent or ""),
        ("place", backup.path),
    ]
    session.write("".join(f"{name:<23}: {printable(value)}\n" for name, value in facts if value))
    rows = [
        (each.vdev, each.format, each.kind, *(human(size) for size in (each.size, each.moved, each.stored)))
        for each in decode_list(BackupDisk, document, "disks")
    ]
    session.write("\n" + table(("Disk", "Format", "Kind", "Size", "Read", "Stored"), rows))
    return 0


def _consistency(word: str | None) -> str:
    """One that this program does not know is told as it is."""
    return "" if word is None else f"{word} ({_MEANS[word]})" if word in _MEANS else word


def _result(document: Json) -> Json:
    result = document.get("result")
    return result if isinstance(result, dict) else {}


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _cwd() -> str:
    import os

    return os.getcwd()


def _place(args: Namespace) -> dict[str, object]:
    return {"cwd": _cwd(), "source": args.source}


def _target(route: str, args: Namespace) -> str:
    from wirt.client import http

    return route if args.source is None else f"{route}?source={http.quote(args.source)}&cwd={http.quote(_cwd())}"


def _route(backup: str) -> str:
    from wirt.client import http

    return f"{ROUTE}/{http.quote(backup)}"
