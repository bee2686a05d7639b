"""``wirt disk-move``: a disk into another volume, while its guest runs."""

from __future__ import annotations

from wirt.cli.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session

EPILOG = """\
The new volume is made, in any pool. What the guest writes meanwhile goes into both; when the copy is whole the
guest stands still for a moment and goes on with that. Cancelled before (Ctrl-C, wirt jobs --cancel ID), it keeps
the old one and the new one is gone. A domain that is off is moved as by wirt volume move. A device (of a block
pool) that the disk leaves stays as it was; one that it goes to is written over, with --overwrite.

examples:
  wirt disk-move web xvda fast/web
  wirt disk-move web xvda fast/web --format raw --rate 50M
"""


def options_disk_move(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("domain", metavar="DOMAIN", help="name, ID or UUID")
    parser.add_argument("vdev", metavar="VDEV", help="the disk, as the configuration calls it: xvda")
    parser.add_argument("target", metavar="POOL/VOLUME", help="the new volume")
    parser.add_argument("--format", metavar="FORMAT", help="of the new volume: raw, qcow2 (default: as it is)")
    parser.add_argument("--rate", metavar="SIZE", help="copy at most so many bytes a second, as in 50M")
    parser.add_argument("--keep", action="store_true", help="leave the old volume as it was at the change")
    parser.add_argument("--overwrite", action="store_true", help="onto a device that exists: all on it is lost")


def run_disk_move(args: Namespace, session: Session) -> int:
    from wirt.cli.following import run_job
    from wirt.cli.volumes import human
    from wirt.client.api import domain_path
    from wirt.client.decode import decode
    from wirt.client.http import quote
    from wirt.wire.v1_storage import Volume

    body: dict[str, object] = {"target": args.target, "keep": args.keep}
    body |= {"overwrite": True} if args.overwrite else {}
    body |= {} if args.format is None else {"format": args.format}
    body |= {} if args.rate is None else {"bytes_per_s": args.rate}
    path = domain_path(args.domain, f"disks/{quote(args.vdev)}/move")
    document = run_job(session, lambda: session.api.post(path, body))
    if session.json:
        session.document(document)
        return 0
    pool, _, name = args.target.removeprefix("pool:").partition("/")
    volume = decode(Volume, session.api.get(f"/v1/volumes/{quote(pool)}/{quote(name)}"))
    session.write(f"{printable(volume.reference)}: {volume.format}, {human(volume.size)}\n")
    return 0
