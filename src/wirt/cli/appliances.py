"""``wirt import`` and ``export``: machines that come from elsewhere, and go there."""

from __future__ import annotations

from wirt.cli.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.client.errors import Json

IMPORT_ROUTE, IMPORT_PLAN_ROUTE = "/v1/import", "/v1/import-plan"
EXPORT_ROUTE, EXPORT_PLAN_ROUTE = "/v1/export", "/v1/export-plan"
LOOK_S = 900.0
"""A large archive is looked at from its beginning to its end before there is an answer."""
IMPORT_EPILOG = """\
FILE is one of:
  web.ova         an OVF package in one file: VMware, VirtualBox, oVirt, wirt export
  web.ovf         its descriptor, beside the disks that it names
  web.xva         an export of XenServer or XCP-ng, compressed (gzip, zstd) or not
  web.qcow2       a disk image: raw, qcow2, VMDK, VHD, VHDX or VDI; memory and CPUs are then yours to say

Whoever made the file is trusted with nothing: it is read in a jail, its checksums are compared, and what names
other files is refused. Its disks go straight into new volumes. The domain is defined, not started. What a domain
has no place for (sound cards, USB, networks that are not here ...) is listed: see it first with -n.

examples:
  wirt import appliance.ova -n
  wirt import appliance.ova --name web --pool fast --bridge br0
  wirt import old.xva --format raw
  wirt import disk.vhdx --name legacy --memory 4096 --vcpus 2
"""
EXPORT_EPILOG = """\
The domain is off. FILE gets its configuration as OVF 1.1, its disks as they are read (VMDK, compressed), and a
manifest with a checksum of each. wirt import, VirtualBox, VMware and others read it. What OVF has no words for
(a kernel that is entered directly, weights, security groups, what lies in CD drives ...) is listed: see it first
with -n.

examples:
  wirt export web web.ova -n
  wirt export web /srv/web.ova
  wirt export web /srv/web.ova --format qcow2
"""


def options_export(parser: Parser) -> None:
    parser.epilog = EXPORT_EPILOG
    add = parser.add_argument
    add("domain", metavar="DOMAIN", help="its name, ID or UUID")
    add("file", metavar="FILE", help="a new file that ends in .ova")
    add("-n", "--dryrun", "--dry-run", action="store_true", help="show the plan, do nothing")
    add("--format", choices=("vmdk", "qcow2"), default="vmdk", help="of the disks in it (default: vmdk)")


def run_export(args: Namespace, session: Session) -> int:
    import os

    from wirt.cli.following import run_job

    request = {"domain": args.domain, "file": os.path.abspath(args.file), "format": args.format}
    if args.dryrun:
        return _show_export(session.api.post(EXPORT_PLAN_ROUTE, request), session)
    document = run_job(session, lambda: session.api.post(EXPORT_ROUTE, request))
    if session.json:
        session.document(document)
        return 0
    found = document.get("result")
    result = found if isinstance(found, dict) else {}
    session.write(f"{printable(str(result.get('file', '')))}\n")
    tell_lost(session, result.get("lost"))
    return 0


def _show_export(document: Json, session: Session) -> int:
    from wirt.client.decode import decode
    from wirt.wire.v1_appliances import ExportPlan

    if session.json:
        session.document(document)
        return 0
    plan = decode(ExportPlan, document)
    session.write(f"{printable(plan.file)}: {printable(plan.name)}, with {printable(', '.join(plan.disks))}\n")
    tell_lost(session, plan.lost)
    return 0


def options_import(parser: Parser) -> None:
    parser.epilog = IMPORT_EPILOG
    add = parser.add_argument
    add("file", metavar="FILE", help="an appliance, or a disk image")
    add("-n", "--dryrun", "--dry-run", action="store_true", help="show the plan, do nothing")
    add("--name", metavar="NAME", default="", help="the domain's (default: as it is called there)")
    add("--pool", metavar="POOL", default="default", help="where its volumes go (default: default)")
    add("--format", choices=("raw", "qcow2"), default="", help="of the volumes (default: what the pool prefers)")
    add("--file-format", metavar="FORMAT", default="", help="of a disk image that is not to be guessed: raw, say")
    add("--machine", metavar="NAME", default="", help="of an OVF package that holds several: which one")
    add("--bridge", metavar="BRIDGE", action="append", default=[], help="of the first card; again for the next")
    add("--memory", metavar="MIB", type=int, help="of the domain (default: as there, else 1024)")
    add("--vcpus", metavar="NUMBER", type=int, help="of the domain (default: as there, else 1)")


def run_import(args: Namespace, session: Session) -> int:
    from wirt.cli.following import run_job

    request = _import_request(args)
    if args.dryrun:
        return _show(session.api.post(IMPORT_PLAN_ROUTE, request, timeout_s=LOOK_S), session)
    document = run_job(session, lambda: session.api.post(IMPORT_ROUTE, request, timeout_s=LOOK_S))
    if session.json:
        session.document(document)
        return 0
    found = document.get("result")
    result = found if isinstance(found, dict) else {}
    session.write(f"{printable(str(result.get('name', '')))} is defined\n")
    tell_lost(session, result.get("lost"))
    return 0


def tell_lost(session: Session, lost: object) -> None:
    for each in lost if isinstance(lost, list) else []:
        session.write(f"not carried over: {printable(str(each))}\n")


def _import_request(args: Namespace) -> dict[str, object]:
    import os

    names = ("name", "pool", "format", "file_format", "memory", "vcpus", "machine")
    request: dict[str, object] = {name: getattr(args, name) for name in names}
    return request | {"file": os.path.abspath(args.file), "bridges": args.bridge}


def _show(document: Json, session: Session) -> int:
    from wirt.cli.volumes import human
    from wirt.client.decode import decode
    from wirt.wire.v1_appliances import ImportPlan

    if session.json:
        session.document(document)
        return 0
    plan = decode(ImportPlan, document)
    session.write(
        f"{printable(plan.name)}: from an {plan.kind}{', checksums are compared' if plan.checked else ''}\n"
    )
    for disk in plan.disks:
        source = disk.source_format or "nothing"
        words = f"{disk.volume}: {disk.format}, {human(disk.size)}, from {disk.label} ({source})"
        session.write(f"{printable(words)}\n")
    tell_lost(session, plan.lost)
    session.write("\n" + "".join(f"  {printable(line)}\n" for line in plan.config.splitlines()))
    return 0
