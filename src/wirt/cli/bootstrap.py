"""``wirt bootstrap``: a distribution's packages become a system, without an installer's screens."""

from __future__ import annotations

from wirt.cli.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.client.errors import Json

ROUTE, PLAN_ROUTE = "/v1/bootstrap", "/v1/bootstrap-plan"
EPILOG = """\
where to:
  POOL/VOLUME     a volume, made if it is not there
  /dev/...        a partition, a logical volume, a disk; refused while it is in use
  IMAGE.qcow2     a new image (or IMAGE.raw)

pvh guests are entered through kernel and initrd, which are written beside the image, or below wirt's home; their
disk is one file system. hvm guests boot by GRUB, through BIOS and UEFI, from a partitioned disk. Either way
NAME.cfg is written, as for wirt create.

The packages come from the mirrors that this host's own package manager uses, or from --mirror. They are installed
in a jail, as nobody, by mmdebstrap, dnf or zypper. The system has one user if --user is given, who may use sudo
and logs in by --ssh-key; no password is set. Its machine-id and ssh host keys are made at its first boot.

examples:
  wirt bootstrap debian --into default/web --size 8G --user ann --ssh-key ~/.ssh/id_ed25519.pub
  wirt bootstrap debian --into web.qcow2 --type hvm --packages nginx,curl --start
  wirt bootstrap debian --into /dev/vg0/db --release trixie --network static --address 192.0.2.9/24
  wirt bootstrap fedora --into default/f --release 41 --mirror URL --key RPM-GPG-KEY
  wirt bootstrap debian --into default/web -n
"""
_SAME = (
    *("distribution", "into", "type", "release", "mirror", "key", "unsigned", "kernel", "console", "network"),
    *("address", "gateway", "dns", "user", "force"),
)
_UNITS = {"K": 10, "M": 20, "G": 30, "T": 40}


def options_bootstrap(parser: Parser) -> None:
    parser.epilog = EPILOG
    add = parser.add_argument
    add("distribution", choices=("debian", "opensuse", "fedora"))
    add("--into", metavar="TARGET", required=True, help="POOL/VOLUME, a block device, or a new image")
    add("-n", "--dryrun", "--dry-run", action="store_true", help="show the plan, do nothing")
    add("--name", metavar="NAME", help="the domain's and the system's (default: as the target is called)")
    add("--size", metavar="SIZE", help="of a new disk, as in 8G (default: 4G)")
    add("--type", choices=("pvh", "hvm"), default="pvh", help="of the guest (default: pvh)")
    add("--memory", metavar="MIB", type=int, help="of the guest (default: 512)")
    add("--release", metavar="WORD", default="", help="as in bookworm, 41 (default for debian: bookworm)")
    add("--mirror", metavar="URL", default="", help="where packages come from (default: as this host's do)")
    add("--key", metavar="FILE", default="", help="the keys that packages are signed with")
    add("--unsigned", action="store_true", help="take packages that nobody signed")
    add("--packages", metavar="NAME,...", action="append", default=[], help="also these")
    add("--kernel", metavar="PACKAGE", default="", help="another kernel")
    add("--console", metavar="DEVICE", default="ttyS0", help="ttyS0 (the default), hvc0 ...")
    add("--network", choices=("dhcp", "static", "none"), default="dhcp", help="default: dhcp")
    add("--address", metavar="ADDR/LEN", default="", help="of a static network")
    add("--gateway", metavar="ADDR", default="", help="of a static network")
    add("--dns", metavar="ADDR", action="append", default=[], help="a name server")
    add("--user", metavar="NAME", default="", help="who may log in, and use sudo")
    add("--ssh-key", metavar="FILE", action="append", default=[], help="public keys of the user's (else root's)")
    add("--force", action="store_true", help="also over what is on the device or the volume")
    after = parser.add_mutually_exclusive_group()
    after.add_argument("--define", action="store_true", help="define the domain then")
    after.add_argument("--start", action="store_true", help="start the domain then")


def run_bootstrap(args: Namespace, session: Session) -> int:
    from wirt.cli.following import run_job

    request = _request(args)
    if args.dryrun:
        return _show(session.api.post(PLAN_ROUTE, request), session)
    document = run_job(session, lambda: session.api.post(ROUTE, request))
    result = document.get("result")
    files = result if isinstance(result, dict) else {}
    if session.json:
        session.document(document)
    else:
        session.write("".join(f"{printable(str(key))}: {printable(str(value))}\n" for key, value in files.items()))
    if args.define or args.start:
        return _go_on(args, str(files.get("config", "")), session)
    return 0


def _go_on(args: Namespace, config: str, session: Session) -> int:
    """As ``wirt create`` and ``wirt define`` do it."""
    from wirt.cli.following import run_job
    from wirt.wire.v1 import CreateRequest

    with open(config, encoding="utf-8") as file:
        text = file.read()
    request = CreateRequest(text=text, file=config, cwd="/", persistent=args.define, start=args.start)
    run_job(session, lambda: session.api.create(request))
    if not session.json:
        session.write("the domain is " + ("running\n" if args.start else "defined\n"))
    return 0


def _request(args: Namespace) -> dict[str, object]:
    import os

    request: dict[str, object] = {name: getattr(args, name) for name in _SAME}
    return request | {
        "cwd": os.getcwd(),
        "name": args.name or "",
        "size": None if args.size is None else _bytes(args.size),
        "memory": args.memory,
        "packages": [name for words in args.packages for name in words.split(",") if name],
        "ssh_keys": [key for path in args.ssh_key for key in public_keys(path)],
    }


def _bytes(word: str) -> int:
    from wirt.cli.arguments import usage_error

    number, unit = (word[:-1], word[-1].upper()) if word[-1:].isalpha() else (word, "M")
    if not number.isdecimal() or unit not in _UNITS or len(number) > 9:
        usage_error(f"{word} is no size", "as in 8G: K, M, G and T are powers of 1024, M where none is said")
    return int(number) << _UNITS[unit]


def public_keys(path: str) -> list[str]:
    """Public keys, one a line. A private one is not even read on."""
    from wirt.cli.arguments import usage_error

    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file.read(64 * 1024).splitlines()]
    except (OSError, ValueError) as error:
        usage_error(f"{path} can't be read: {error}", "--ssh-key ~/.ssh/id_ed25519.pub")
    if any("PRIVATE KEY" in line for line in lines):
        usage_error(f"{path} is a private key", f"--ssh-key {path}.pub")
    return [line for line in lines if line and not line.startswith("#")]


def _show(document: Json, session: Session) -> int:
    from wirt.client.decode import decode
    from wirt.wire.v1_bootstrap import BootstrapPlan

    if session.json:
        session.document(document)
        return 0
    plan = decode(BootstrapPlan, document)
    lines = [f"{plan.name}: {plan.size >> 20} MiB into {plan.into}"]
    lines += [f"partition {each.name}: {each.size >> 20} MiB" for each in plan.partitions]
    lines += [f"run in the jail: {' '.join(command)}" for command in plan.commands]
    lines += [f"{each.what}: {each.path}" for each in plan.files]
    session.write("".join(f"{printable(line)}\n" for line in lines) + "\n")
    session.write("".join(f"  {printable(line)}\n" for line in plan.config.splitlines()))
    return 0
