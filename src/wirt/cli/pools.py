"""``wirt pool``: where the disks of guests live."""

from __future__ import annotations

import sys

from wirt.cli.text import printable, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.client.errors import Json
    from wirt.wire.v1_storage import Pool, PoolDetail

ROUTE = "/v1/pools"
HEADER = ("Name", "Type", "Target", "Capacity", "Available", "Promised", "State")
ACTIONS = ("create", "list", "info", "refresh", "destroy")
EPILOG = """\
  create NAME    make a pool known (--type, --target)
  list           all of them; default is made when it is first used
  info NAME      what it can do, how full it is, and its volumes
  refresh NAME   look at it anew, and take away what interrupted work left
  destroy NAME   forget it; what is in it stays, unless --delete-volumes says otherwise

types:
  dir       files in a directory, raw or qcow2; it is made if it is not there
  lvm       logical volumes of a volume group (--target GROUP)
  lvmthin   thin logical volumes, with clones (--target GROUP/THINPOOL)
  block     partitions and disks that exist, by their lasting names (--target /dev/disk/by-id/...,...)
  nfs       files on a server, which other hosts may share (--source SERVER:/EXPORT)

A disk in an xl.cfg names a volume as POOL/VOLUME:  disk = ["default/web,,xvda,rw"]

examples:
  wirt pool create fast --type dir --target /srv/fast
  wirt pool create vg --type lvm --target vg0
  wirt pool create disks --type block --target data=/dev/disk/by-id/ata-ACME_1-part3
  wirt pool create far --type nfs --source nas:/export/guests --options nfsvers=4.1
  wirt pool destroy fast --delete-volumes
"""
_OPTIONS = ("type", "target", "source", "options")


def options_pool(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("name", metavar="NAME", nargs="?", help="the pool's name")
    parser.add_argument("--type", metavar="TYPE", help="create: dir, lvm, lvmthin, block or nfs (default: dir)")
    parser.add_argument("--target", metavar="WHERE", help="create: a directory, a volume group, or devices")
    parser.add_argument("--source", metavar="SERVER:/EXPORT", help="create: what an nfs pool mounts")
    parser.add_argument("--options", metavar="OPTIONS", help="create: for mounting (nfs(5))")
    parser.add_argument("--delete-volumes", action="store_true", help="destroy: with all that is in it")
    parser.add_argument("-y", "--yes", action="store_true", help="destroy: do not ask")


def run_pool(args: Namespace, session: Session) -> int:
    _check(args)
    if args.action == "create":
        return _create(args, session)
    if args.action == "destroy":
        return _destroy(args, session)
    if args.action == "refresh":
        return _show(session.api.post(f"{_route(args.name)}/refresh"), session)
    return _list(session) if args.action == "list" else _show(session.api.get(_route(args.name)), session)


def _check(args: Namespace) -> None:
    from wirt.cli.arguments import usage_error

    if args.action == "list" and args.name is not None:
        usage_error(f"list takes no name: wirt pool info {args.name}")
    if args.action != "list" and not args.name:
        usage_error(f"which pool? wirt pool {args.action} NAME")
    said = [name for name in _OPTIONS if getattr(args, name) is not None]
    if args.action != "create" and said:
        usage_error(f"--{said[0]} is for create, not for {args.action}")
    if args.action != "destroy" and args.delete_volumes:
        usage_error(f"--delete-volumes is for destroy, not for {args.action}")
    if args.action == "create" and (args.type or "dir") != "nfs" and not args.target:
        usage_error("where is it? --target DIRECTORY, GROUP, GROUP/THINPOOL or DEVICE")


def _create(args: Namespace, session: Session) -> int:
    import os

    from wirt.cli.following import run_job

    request: dict[str, object] = {"name": args.name}
    request |= {name: getattr(args, name) for name in _OPTIONS if getattr(args, name) is not None}
    if (args.type or "dir") == "dir":
        request["target"] = os.path.abspath(args.target)
    document = run_job(session, lambda: session.api.post(ROUTE, request))
    if session.json:
        session.document(document)
        return 0
    return _show(session.api.get(_route(args.name)), session)


def _destroy(args: Namespace, session: Session) -> int:
    from wirt.cli.following import run_job

    target = f"{_route(args.name)}/destroy"
    if args.delete_volumes:
        if not args.yes and not _agreed(args.name, session):
            return 1
        target += "?delete-volumes=true"
    document = run_job(session, lambda: session.api.post(target), quiet=not args.delete_volumes)
    if session.json:
        session.document(document)
    return 0


def _agreed(name: str, session: Session) -> bool:
    """Asked only where somebody can answer."""
    from wirt.cli.arguments import usage_error

    detail = _detail(session.api.get(_route(name)))
    names = [volume.name for volume in detail.volumes]
    if not names:
        return True
    if not sys.stdin.isatty():
        usage_error(f"--delete-volumes deletes {len(names)} volumes of {name}: add --yes if that is meant")
    session.say(f"{name} has {len(names)} volumes: {', '.join(names[:10])}{' ...' if len(names) > 10 else ''}")
    sys.stderr.write("Delete them for ever? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _list(session: Session) -> int:
    from wirt.client.decode import decode
    from wirt.wire.v1_storage import PoolList

    document = session.api.get(ROUTE)
    if session.json:
        session.document(document)
        return 0
    found = decode(PoolList, document)
    session.write(table(HEADER, [_row(pool) for pool in found.pools]))
    return 0


def _row(pool: Pool) -> tuple[str, ...]:
    where = pool.source or pool.target
    sizes = (_size(pool.capacity), _size(pool.available), _size(pool.promised))
    return (pool.name, pool.type, where, *sizes, pool.state)


def _show(document: Json, session: Session) -> int:
    if session.json:
        session.document(document)
    else:
        session.write(format_detail(_detail(document)))
    return 0


def format_detail(detail: PoolDetail) -> str:
    from wirt.cli.volumes import HEADER as VOLUMES
    from wirt.cli.volumes import row

    pool = detail.pool
    lines = [_line(name, value) for name, value in _facts(pool) if value]
    lines += [_line("tidied", each) for each in detail.tidied]
    text = "".join(lines)
    if detail.volumes:
        text += "\n" + table(VOLUMES, [row(volume) for volume in detail.volumes])
    return text


def _facts(pool: Pool) -> list[tuple[str, str]]:
    return [
        ("name", pool.name),
        ("type", pool.type),
        ("state", pool.state),
        ("problem", pool.problem or ""),
        ("target", pool.target),
        ("source", pool.source or ""),
        ("options", pool.options),
        ("capacity", _size(pool.capacity, "")),
        ("available", _size(pool.available, "")),
        ("allocated", _size(pool.allocated, "")),
        ("promised", _size(pool.promised, "")),
        ("file system", _file_system(pool)),
        ("formats", ", ".join(pool.formats)),
        ("can", ", ".join(pool.capabilities)),
    ]


_ABILITIES = {"reflink": "reflink", "direct": "direct access", "discard": "discard"}


def _file_system(pool: Pool) -> str:
    """What users choose by: what it can do, and what it can't."""
    if pool.file_system is None:
        return ""
    said = [f"{words}: {'yes' if name in pool.abilities else 'no'}" for name, words in _ABILITIES.items()]
    return f"{pool.file_system} ({', '.join(said)})"


def _size(size: int | None, nothing: str = "-") -> str:
    from wirt.cli.volumes import human

    return nothing if size is None else human(size)


def _line(name: str, value: str) -> str:
    return f"{name:<23}: {printable(value)}\n"


def _detail(document: Json) -> PoolDetail:
    from wirt.client.decode import decode
    from wirt.wire.v1_storage import PoolDetail

    return decode(PoolDetail, document)


def _route(name: str) -> str:
    from wirt.client import http

    return f"{ROUTE}/{http.quote(name)}"
