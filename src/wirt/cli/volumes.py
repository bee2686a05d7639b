"""``wirt volume``: the disks of guests."""

from __future__ import annotations

from wirt.cli.text import printable, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.client.errors import Json
    from wirt.wire.v1_storage import Volume

ROUTE = "/v1/volumes"
HEADER = ("Volume", "Format", "Size", "Allocated", "Stands on", "Used by")
EPILOG = """\
  create POOL/VOLUME             make one, which reads as zeroes (--size)
  list [POOL]                    those of a pool, or all
  info POOL/VOLUME               one, with those who have it
  resize POOL/VOLUME             larger at any time: a guest that runs sees it at once; smaller with --force,
                                 while it is off (--size)
  clone POOL/VOLUME NAME         a volume of the same pool that shares what neither writes
  copy POOL/VOLUME POOL/VOLUME   an independent one, in any pool
  move POOL/VOLUME POOL/VOLUME   a copy that takes its place, also in the configurations of domains, which are off
  import POOL/VOLUME FILE        a new volume from an image file
  export POOL/VOLUME FILE        an image file from a volume
  destroy POOL/VOLUME            refused while a domain has it among its disks

examples:
  wirt volume create default/web --size 10G
  wirt volume create default/db --size 20G --format raw --preallocation full
  wirt volume resize default/web --size 20G
  wirt volume copy default/web vg/web --bandwidth 100M
  wirt volume import default/old /srv/old.vmdk
  wirt volume export default/web /srv/web.raw --file-format raw
"""
ACTIONS = ("create", "list", "info", "resize", "clone", "copy", "move", "import", "export", "destroy")
_TWO = {"clone": "NAME", "copy": "POOL/VOLUME", "move": "POOL/VOLUME", "import": "FILE", "export": "FILE"}
_FOR = {
    "size": ("create", "resize"),
    "format": ("create", "copy", "move", "import"),
    "preallocation": ("create", "copy"),
    "bandwidth": ("copy", "move"),
    "file_format": ("import", "export"),
    "force": ("resize",),
    "overwrite": ("copy", "move", "import"),
}


def options_volume(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("volume", metavar="POOL/VOLUME", nargs="?", help="for list a pool's name, or nothing")
    parser.add_argument("other", metavar="OTHER", nargs="?", help="the new volume, or the file")
    parser.add_argument("--size", metavar="SIZE", help="as in 10G: K, M, G and T are powers of 1024")
    parser.add_argument("--format", metavar="FORMAT", help="raw or qcow2 (default: what the pool prefers)")
    parser.add_argument("--preallocation", metavar="KIND", help="off, metadata or full (default: off)")
    parser.add_argument("--bandwidth", metavar="SIZE", help="bytes a second, as in 100M")
    parser.add_argument("--file-format", metavar="FORMAT", help="raw, qcow2, vmdk, vhd, vhdx, vdi, qcow or qed")
    parser.add_argument("--force", action="store_true", default=None, help="resize: cut off what is beyond")
    parser.add_argument(
        "--overwrite", action="store_true", default=None, help="onto a device that exists: all on it is lost"
    )


def run_volume(args: Namespace, session: Session) -> int:
    _check(args)
    if args.action == "list":
        return _list(args.volume, session)
    if args.action == "info":
        return _info(session.api.get(_route(args.volume)), session)
    return _work(args, session)


def _check(args: Namespace) -> None:
    from wirt.cli.arguments import usage_error

    if args.action != "list" and not args.volume:
        usage_error(f"which volume? wirt volume {args.action} POOL/VOLUME")
    if args.action != "list" and "/" not in args.volume:
        usage_error(f"{args.volume} names no volume: POOL/VOLUME, as in default/{args.volume}")
    second = _TWO.get(args.action)
    if (second is None) != (args.other is None):
        usage_error(f"wirt volume {args.action} {args.volume or ''} {second or 'takes nothing more'}".strip())
    for name, actions in _FOR.items():
        if getattr(args, name) is not None and args.action not in actions:
            usage_error(f"--{name.replace('_', '-')} is for {' and '.join(actions)}, not for {args.action}")
    if args.action in ("create", "resize") and not args.size:
        usage_error("how large? --size 10G")


def _request(args: Namespace) -> dict[str, object]:
    import os

    names = {"size": "size", "format": "format", "preallocation": "preallocation", "force": "force"}
    names |= {"file_format": "file_format", "bandwidth": "bytes_per_s", "overwrite": "overwrite"}
    request = {sent: getattr(args, said) for said, sent in names.items() if getattr(args, said) is not None}
    if args.action in ("clone", "copy", "move"):
        request["target"] = args.other
    if args.action in ("import", "export"):
        request["file"] = os.path.abspath(args.other)
    return request


def _work(args: Namespace, session: Session) -> int:
    from wirt.cli.following import run_job

    route = _route(args.volume)
    target = route if args.action == "create" else f"{route}/{args.action}"
    body = _request(args)
    document = run_job(session, lambda: session.api.post(target, body), quiet=args.action == "destroy")
    if session.json:
        session.document(document)
        return 0
    if args.action not in ("destroy", "export"):
        made = args.other if args.action in ("copy", "move") else args.volume
        if args.action == "clone":
            pool = args.volume.partition("/")[0]
            made = args.other if "/" in args.other else f"{pool}/{args.other}"
        volume = _volume(session.api.get(_route(made)))
        session.write(f"{printable(volume.reference)}: {volume.format}, {human(volume.size)}\n")
    return 0


def _list(pool: str | None, session: Session) -> int:
    from wirt.client import http
    from wirt.client.decode import decode_list
    from wirt.wire.v1_storage import Volume

    document = session.api.get(ROUTE if pool is None else f"{ROUTE}?pool={http.quote(pool)}")
    if session.json:
        session.document(document)
    else:
        session.write(table(HEADER, [row(each) for each in decode_list(Volume, document, "volumes")]))
    return 0


def row(volume: Volume) -> tuple[str, ...]:
    jobs = [f"job {holder.job}" for holder in volume.holders if holder.job is not None]
    used = ", ".join((*volume.domains, *jobs)) or "-"
    sizes = (human(volume.size), human(volume.allocated))
    return (volume.reference, volume.format, *sizes, volume.backing or "-", used)


def _info(document: Json, session: Session) -> int:
    if session.json:
        session.document(document)
        return 0
    volume = _volume(document)
    facts = [
        ("volume", volume.reference),
        ("format", volume.format),
        ("size", f"{human(volume.size)} ({volume.size} bytes)"),
        ("allocated", human(volume.allocated)),
        ("path", volume.path),
        ("stands on", volume.backing or ""),
        ("disk of", ", ".join(volume.domains)),
    ]
    for each in volume.holders:
        who = each.domain or f"job {each.job}"
        facts.append(("open by", f"{who} on {each.host}, {'for writing' if each.writes else 'for reading'}"))
    facts += [(each.what.replace("_", "-"), f"{each.choice}: {each.reason}") for each in volume.engine]
    session.write("".join(f"{name:<23}: {printable(value)}\n" for name, value in facts if value))
    return 0


def human(size: int) -> str:
    """For people: scripts have ``-o json``."""
    number = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if number == int(number) else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def _volume(document: Json) -> Volume:
    from wirt.client.decode import decode
    from wirt.wire.v1_storage import Volume

    return decode(Volume, document)


def _route(volume: str) -> str:
    from wirt.client import http

    pool, _, name = volume.partition("/")
    return f"{ROUTE}/{http.quote(pool)}/{http.quote(name)}"
