"""``wirt lab``: hosts to try things on, all on this machine. A program of its own does it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session

ACTIONS = ("up", "list", "link", "ping", "exec", "down")
EPILOG = """\
  up                    make a lab: hosts h1, h2 ... each with a wirtd, a home, a bridge and links of its own
  list                  all labs, their hosts and homes
  link HOST             --bandwidth RATE (bit/s, as in 100M; none: no limit), --cut or --mend
  ping ADDRESS          whether a guest answers, asked from outside all hosts
  exec HOST COMMAND...  run a command in a host's network; net: beside the switches between them
  down                  end all that runs in a lab and remove it, with the disks of its guests

WIRT_HOME=HOME wirt ... acts on a host; its HOME is in the list. A lab needs root.

examples:
  wirt lab up --hosts 3
  WIRT_HOME=/var/lib/wirt-labs/lab/h1 wirt list
  wirt lab link h1 --bandwidth 100M
  wirt lab link h2 --of guests --cut
  wirt lab ping 10.219.0.5
  wirt lab exec h1 -- ip -br address
  wirt lab down
"""
_ALLOWED = {"up": ("hosts", "dir", "bandwidth"), "link": ("bandwidth", "of", "cut", "mend")}


def options_lab(parser: Parser) -> None:
    parser.epilog = EPILOG
    add = parser.add_argument
    add("--name", metavar="LAB", default="lab", help="which lab (default: lab)")
    add("--hosts", metavar="N", type=int, help="up: how many hosts, 1 to 9 (default: 3)")
    add("--dir", metavar="DIR", help="up: where all of it lives (default: /var/lib/wirt-labs/LAB)")
    add("--bandwidth", metavar="RATE", help="up, link: of each link (up: 1G unless told)")
    add("--of", choices=("migration", "guests"), help="link: which of the host's two (default: migration)")
    add("--cut", action="store_true", help="link: nothing passes")
    add("--mend", action="store_true", help="link: it passes again")
    add("action", choices=ACTIONS)
    add("words", metavar="WORD", nargs="*", help="a host, an address, a command")


def run_lab(args: Namespace, session: Session) -> int:
    import subprocess
    import sys

    _check(args)
    words = [sys.executable, "-m", "wirt.lab", *(("-o", "json") if session.json else ()), args.action]
    if args.action != "list":
        words.append(f"--name={args.name}")
    for option in ("hosts", "dir", "bandwidth", "of"):
        if (value := getattr(args, option)) is not None:
            words.append(f"--{option}={value}")
    words += [f"--{option}" for option in ("cut", "mend") if getattr(args, option)]
    session.documented = session.json
    return subprocess.run([*words, *args.words], check=False).returncode


def _check(args: Namespace) -> None:
    from wirt.cli.arguments import usage_error

    allowed = _ALLOWED.get(args.action, ())
    for option in ("hosts", "dir", "bandwidth", "of", "cut", "mend"):
        if getattr(args, option) not in (None, False) and option not in allowed:
            usage_error(f"--{option} is not for {args.action}", "wirt lab --help")
    if args.action == "link" and len(args.words) != 1:
        usage_error("which host? wirt lab link HOST")
    if args.action == "ping" and len(args.words) != 1:
        usage_error("whom? wirt lab ping ADDRESS")
    if args.action == "exec" and len(args.words) < 2:
        usage_error("where, and what? wirt lab exec HOST COMMAND...")
    if args.action in ("up", "list", "down") and args.words:
        usage_error(f"wirt lab {args.action} takes no {args.words[0]}")
