"""``wirt save`` and ``wirt restore``: a guest in a file, and out of it again."""

from __future__ import annotations

from wirt.cli.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.client.errors import Json

SAVE_EPILOG = """\
The domain stands still while its memory goes into FILE, compressed; then its run ends. wirt restore FILE goes on
from there, here or on another host that has its disks. Until FILE is whole nothing is lost: Ctrl-C, or a failure,
and the domain goes on. A defined domain remembers FILE, and wirt start refuses to begin anew over it.

-p leaves the domain paused, -c lets it go on. With a disk that it may write, -c is refused: what is in FILE does
not fit the disk any more once the domain has written it. wirt snapshot create --memory keeps both.

examples:
  wirt save web /srv/saved/web
  wirt save -p web /srv/saved/web
"""
RESTORE_EPILOG = """\
The domain goes on where it was when it was saved, with the same UUID. One that is not known here is made, as the
file says it, or as CONFIG does: that may name other paths of the same disks, and no other devices. Disks that were
written since are refused, since the guest's memory does not fit them: --force goes on all the same.

Whoever wrote FILE decides what the guest does, and which files of this host are its disks: -n shows that.

examples:
  wirt restore -n /srv/saved/web
  wirt restore /srv/saved/web
  wirt restore -p here.cfg /srv/saved/web
"""


def options_save(parser: Parser) -> None:
    parser.epilog = SAVE_EPILOG
    add = parser.add_argument
    add("domain", metavar="DOMAIN", help="its name, ID or UUID")
    add("file", metavar="FILE", help="a new file")
    add("config", metavar="CONFIG", nargs="?", help="an xl.cfg file to keep with it instead of its own")
    add("-c", "--checkpoint", action="store_true", help="let the domain go on afterwards")
    add("-p", "--paused", action="store_true", help="leave the domain paused afterwards")
    add("--force", action="store_true", help="replace FILE; with -c, also if the domain writes its disks")


def run_save(args: Namespace, session: Session) -> int:
    import os

    from wirt.cli.following import run_job
    from wirt.cli.volumes import human

    body = {
        "file": os.path.abspath(args.file),
        "running": args.checkpoint,
        "paused": args.paused,
        "force": args.force,
        "configuration": _configuration(args.config),
    }
    document = run_job(session, lambda: session.api.act(args.domain, "save", body))
    if session.json:
        session.document(document)
        return 0
    found = document.get("result")
    result = found if isinstance(found, dict) else {}
    sizes = f"{human(int(result.get('bytes', 0)))}, {human(int(result.get('memory_bytes', 0)))} of memory"
    session.write(f"{printable(str(document.get('subject')))} is saved to {printable(body['file'])} ({sizes})\n")
    writes = result.get("writes")
    if (args.checkpoint or args.paused) and isinstance(writes, list) and writes:
        once = "is unpaused and has" if args.paused else "has"
        session.say(
            f"Once the domain {once} written {', '.join(map(str, writes))}, the file can't go on with that."
        )
    return 0


def options_restore(parser: Parser) -> None:
    parser.epilog = RESTORE_EPILOG
    add = parser.add_argument
    add("words", metavar="[CONFIG] FILE", nargs="+", help="the saved domain; before it, an xl.cfg to take instead")
    add("-p", "--paused", action="store_true", help="leave it paused")
    add("-n", "--dryrun", "--dry-run", action="store_true", help="show what would be done, do nothing")
    add("--force", action="store_true", help="also with disks that were written since")
    add("-e", action="store_true", help="accepted for xl's sake: wirtd always looks after domains")
    add("-d", "--debug", action="store_true", help="tell each step on standard error")


def run_restore(args: Namespace, session: Session) -> int:
    import os

    from wirt.cli.arguments import usage_error
    from wirt.cli.following import run_job

    if len(args.words) > 2:
        usage_error("wirt restore takes a file, and perhaps a configuration before it")
    *config, file = args.words
    body = {
        "file": os.path.abspath(file),
        "paused": args.paused,
        "force": args.force,
        "configuration": _configuration(config[0] if config else None),
    }
    if args.dryrun:
        return _show(session.api.post("/v1/restore-plan", body), session)
    document = run_job(session, lambda: session.api.post("/v1/restore", body), steps=args.debug)
    if session.json:
        session.document(document)
        return 0
    found = document.get("result")
    result = found if isinstance(found, dict) else {}
    state = "is paused" if args.paused else "is running"
    name = printable(str(result.get("name") or document.get("subject")))
    session.write(f"{name} {state} as domain {printable(str(result.get('domid', '?')))}\n")
    return 0


def _configuration(file: str | None) -> dict[str, str] | None:
    if file is None:
        return None
    from wirt.cli.create import directory, read_config

    return {"text": read_config(file), "file": file, "cwd": directory()}


def _show(document: Json, session: Session) -> int:
    from wirt.cli.following import tell_notices
    from wirt.cli.snapshots import when
    from wirt.cli.volumes import human
    from wirt.client.decode import decode
    from wirt.wire.v1_saves import RestorePlan

    tell_notices(session, document.get("notices"))
    if session.json:
        session.document(document)
        return 0
    plan = decode(RestorePlan, document)
    facts = [
        ("domain", f"{plan.name}, {'which is known and off' if plan.known else 'which would be made'}"),
        ("UUID", plan.uuid),
        ("when it ends", "stays, defined" if plan.persistent else "is forgotten"),
        ("saved", f"{when(plan.saved_at)} on {plan.host}, by {plan.hypervisor}"),
        ("memory", f"{plan.memory_mib} MiB; {human(plan.memory_bytes)} of it in {human(plan.file_bytes)}"),
    ]
    facts += [
        (f"disk {disk.vdev}", f"{disk.target}, {human(disk.size)}{'' if disk.writable else ', read-only'}")
        for disk in plan.disks
    ]
    facts += [("forced", each) for each in plan.doubts] + [("remark", each) for each in plan.remarks]
    session.write("".join(f"{name:<13}: {printable(value)}\n" for name, value in facts))
    session.write("\n" + "".join(f"  {printable(line)}\n" for line in plan.text.splitlines()))
    return 0
