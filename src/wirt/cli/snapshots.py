"""``wirt snapshot``: domains as they were."""

from __future__ import annotations

from wirt.cli.text import printable, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.client.errors import Json
    from wirt.wire.v1_snapshots import Snapshot

HEADER = ("Snapshot", "Taken", "Memory", "Description")
EPILOG = """\
  create DOMAIN NAME    keep all disks as they are at this instant, also of a domain that runs; with --memory the
                        guest stands still until its memory is written out, and going back continues there
  list DOMAIN           all of them as a tree; * marks the one that the disks stand on now
  info DOMAIN NAME      one, with the volumes that it keeps
  revert DOMAIN NAME    the disks as they were then: what they hold since is gone. The domain is off, or --force
                        pulls the plug
  delete DOMAIN NAME    forget it: what was written since is put together with what it kept, and the disks stay
                        as they are. The domain may run

Disks are volumes of dir, nfs and lvmthin pools. Snapshots are no backup: they live where the disks do.

examples:
  wirt snapshot create web before-upgrade --description "Debian 12"
  wirt snapshot create web running --memory
  wirt snapshot list web
  wirt snapshot revert web before-upgrade --force
  wirt snapshot delete web before-upgrade
"""
ACTIONS = ("create", "list", "info", "revert", "delete")


def options_snapshot(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("domain", metavar="DOMAIN", help="its name, ID or UUID")
    parser.add_argument("name", metavar="NAME", nargs="?", help="the snapshot's name")
    parser.add_argument("--memory", action="store_true", default=None, help="create: keep the guest's memory too")
    parser.add_argument("--description", metavar="TEXT", help="create: what it is for")
    parser.add_argument("--force", action="store_true", default=None, help="revert: end the domain's run first")


def run_snapshot(args: Namespace, session: Session) -> int:
    _check(args)
    if args.action == "list":
        return _list(session.api.get(_route(args)), session)
    if args.action == "info":
        return _info(session.api.get(_route(args)), session)
    return _work(args, session)


def _check(args: Namespace) -> None:
    from wirt.cli.arguments import usage_error

    if (args.name is None) != (args.action == "list"):
        what = "no name" if args.name else "the name of a snapshot"
        usage_error(f"wirt snapshot {args.action} {args.domain} takes {what}")
    for option, action in (("memory", "create"), ("description", "create"), ("force", "revert")):
        if getattr(args, option) is not None and args.action != action:
            usage_error(f"--{option} is for {action}, not for {args.action}")


def _work(args: Namespace, session: Session) -> int:
    from wirt.cli.following import run_job

    if args.action == "create":
        body: dict[str, object] = {"name": args.name, "memory": bool(args.memory)}
        body["description"] = args.description or ""
        document = run_job(session, lambda: session.api.post(_route(args, named=False), body))
    else:
        body = {"force": bool(args.force)} if args.action == "revert" else {}
        document = run_job(session, lambda: session.api.post(f"{_route(args)}/{args.action}", body))
    if session.json:
        session.document(document)
    else:
        _tell_power_failure(document.get("result"), session)
    return 0


def _tell_power_failure(result: object, session: Session) -> None:
    if isinstance(result, dict) and result.get("quiesced") is False:
        session.say("No agent in the guest held its file systems: its disks are kept as after a power failure.")


def _list(document: Json, session: Session) -> int:
    from wirt.client.decode import decode_list
    from wirt.wire.v1_snapshots import Snapshot

    if session.json:
        session.document(document)
        return 0
    snapshots = decode_list(Snapshot, document, "snapshots")
    if snapshots:
        session.write(table(HEADER, list(_rows(snapshots))))
    else:
        session.say("No snapshots yet: wirt snapshot create makes one.")
    left = document.get("left")
    if isinstance(left, list) and left:
        session.say(f"Kept for others that stand on them: {', '.join(map(str, left))}")
    return 0


def _rows(snapshots: list[Snapshot], parent: str | None = None, depth: int = 0) -> Iterator[tuple[str, ...]]:
    """The tree, each after the one that it grew from."""
    for each in snapshots:
        if each.parent == parent:
            mark = "*" if each.current else ""
            name = f"{'  ' * depth}{each.name}{mark}"
            about = "being removed" if each.leaving else each.description or "-"
            yield name, when(each.created_at), "yes" if each.memory else "-", about
            yield from _rows(snapshots, each.name, depth + 1)


def _info(document: Json, session: Session) -> int:
    from wirt.client.decode import decode
    from wirt.wire.v1_snapshots import Snapshot

    if session.json:
        session.document(document)
        return 0
    snapshot = decode(Snapshot, document)
    facts = [
        ("snapshot", snapshot.name),
        ("taken", when(snapshot.created_at)),
        ("description", snapshot.description or "-"),
        ("grew from", snapshot.parent or "-"),
        ("memory", "kept" if snapshot.memory else "not kept"),
        ("disks stand on it", "yes" if snapshot.current else "no"),
    ]
    facts += [(f"disk {disk.vdev}", f"{disk.volume}, kept in {disk.kept}") for disk in snapshot.disks]
    session.write("".join(f"{name:<19}: {printable(value)}\n" for name, value in facts))
    return 0


def when(seconds: float) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _route(args: Namespace, *, named: bool = True) -> str:
    from wirt.client.http import quote

    base = f"/v1/domains/{quote(args.domain)}/snapshots"
    return f"{base}/{quote(args.name)}" if named and args.name is not None else base
