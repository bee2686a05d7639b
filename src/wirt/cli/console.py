"""``wirt console``: a domain's console, with the keyboard in raw mode or through a pipe."""

from __future__ import annotations

import os
import sys
import threading
import time

from wirt.cli.terminal import RawTerminal, read_ready, write_all
from wirt.client.decode import decode
from wirt.wire.v1 import DomainDetail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from wirt.cli.arguments import Parser
    from wirt.cli.session import Session
    from wirt.client.streams import Console

CTRL_BRACKET = 0x1D
_READ_BYTES = 4096
QUIET_S = 0.5
LONGEST_S = 2.0
"""``--no-follow`` takes what it has for all that is kept when so long nothing came, or after so long with a
domain that never stops talking: unless the server says that it was all."""

EPILOG = """\
Ctrl-] leaves; the domain goes on. What it printed since its start is shown first, as far as it is kept.
Without a terminal on standard input the console is a pipe.

examples:
  wirt console web
  wirt console --no-follow web | tail
  echo uptime | wirt console --no-history web
"""


def options_console(parser: Parser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("domain", metavar="DOMAIN", help="name, ID or UUID")
    parser.add_argument("--no-history", action="store_true", help="only what comes from now on")
    parser.add_argument("--no-follow", action="store_true", help="print what is kept, and end")
    parser.add_argument("-e", metavar="CHAR", type=character, default=CTRL_BRACKET, help="leaves (default: ^])")
    parser.add_argument(
        "-t", metavar="TYPE", choices=("pv", "serial"), help="accepted for xl: there is one console"
    )
    parser.add_argument("-n", metavar="NUM", type=int, choices=(0,), help="accepted for xl: there is one console")


def run_console(args: Namespace, session: Session) -> int:
    from wirt.cli.arguments import usage_error

    if session.json:
        usage_error("a console is bytes, not JSON")
    if args.no_history and args.no_follow:
        usage_error("--no-history and --no-follow leave nothing to print")
    found = decode(DomainDetail, session.api.domain(args.domain)).domain
    attach(
        session,
        args.domain,
        name=found.name,
        history=not args.no_history,
        follow=not args.no_follow,
        escape=args.e,
    )
    return 0


def attach(
    session: Session, ref: str, *, name: str, history: bool, follow: bool = True, escape: int = CTRL_BRACKET
) -> None:
    """Connects standard input and output with the console of ``ref``, until it ends or the person leaves."""
    from wirt.client.streams import console

    sys.stdout.flush()
    with console(session.api, ref, offset=0 if history else -1, follow=follow) as stream:
        if not follow:
            _print_kept(stream)
            return
        terminal = sys.stdin is not None and os.isatty(sys.stdin.fileno())
        if not terminal:
            _Attachment(stream, escape=None).run()
            return
        session.say(f"At {name}'s console; {_shown(escape)} leaves.")
        try:
            with RawTerminal(sys.stdin.fileno()):
                ended = _Attachment(stream, escape=escape).run()
        finally:
            sys.stderr.write("\n")  # The guest's cursor may be anywhere in its line.
    session.say(f"{name} has ended." if ended else f"Left {name}'s console.")


class _Attachment:
    """Two directions at once: a thread carries what the domain prints, the caller's thread what is typed."""

    def __init__(self, stream: Console, *, escape: int | None) -> None:
        self._stream = stream
        self._escape = escape
        self._wake_read, self._wake_write = os.pipe()
        self._error: BaseException | None = None
        self._ended = False

    def run(self) -> bool:
        """Whether the domain's run has ended; false if the person left. Raises what the printing thread met."""
        printer = threading.Thread(target=self._print, name="console", daemon=True)
        printer.start()
        try:
            self._type()
        finally:
            self._stream.close()
            printer.join(timeout=5)
            os.close(self._wake_read)
        if self._error is not None and self._ended:
            raise self._error
        return self._ended

    def _print(self) -> None:
        output = sys.stdout.fileno()
        try:
            while (data := self._stream.receive()) is not None:
                write_all(output, data)
        except BaseException as error:
            self._error = error
        finally:
            os.close(self._wake_write)

    def _type(self) -> None:
        """Ends when the person leaves, or when the printing thread has (its end of the pipe is closed)."""
        keyboard = sys.stdin.fileno() if sys.stdin is not None else -1
        sources = [self._wake_read, *([keyboard] if keyboard >= 0 else [])]
        while True:
            ready = read_ready(sources)
            if self._wake_read in ready:
                self._ended = True
                return
            data = os.read(keyboard, _READ_BYTES)
            if not data:
                if self._escape is not None:
                    return
                # The pipe into the console is at its end; the domain is not.
                sources.remove(keyboard)
                continue
            before, found = self._until_escape(data)
            if before:
                self._stream.send(before)
            if found:
                return

    def _until_escape(self, data: bytes) -> tuple[bytes, bool]:
        if self._escape is None:
            return data, False
        before, found, _ = data.partition(bytes([self._escape]))
        return before, bool(found)


def _print_kept(stream: Console) -> None:
    output = sys.stdout.fileno()
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline and (data := stream.receive(timeout_s=QUIET_S)) is not None:
        write_all(output, data)


def character(word: str) -> int:
    """xl's ``-e``: one character, or ``^`` and one for Ctrl with it."""
    if len(word) == 1 and word.isascii():
        return ord(word)
    if len(word) == 2 and word[0] == "^" and 0x3F < ord(word[1].upper()) < 0x60:
        return ord(word[1].upper()) - 0x40
    raise ValueError(word)


def _shown(escape: int) -> str:
    return f"Ctrl-{chr(escape + 0x40)}" if escape < 0x20 else chr(escape)
