"""``python -m tests.testhost``: see the package's docstring."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

from . import payload
from .commands import Failed
from .image import held
from .machine import HOME, Machine, a_machine

CACHE = Path(os.environ.get("WIRT_TEST_CACHE", Path(__file__).resolve().parents[2] / ".cache")) / "testhost"
USAGE = "usage: python -m tests.testhost build | shell | run COMMAND ..."
SHELL_S = 7 * 24 * 3600.0


def say(text: str) -> None:
    print(f"testhost: {text}", file=sys.stderr, flush=True)


def main(words: list[str]) -> int:
    verb, *rest = words or [""]
    if (verb not in ("build", "shell", "run")) or (verb == "run") != bool(rest):
        print(USAGE, file=sys.stderr)
        return 2
    try:
        if verb == "build":
            with held(CACHE, say) as image:
                print(image.directory)
            return 0
        with a_machine(CACHE, say) as machine:
            machine.put_work_tree()
            payload.put_tiny(machine, CACHE.parent)
            return shell(machine) if verb == "shell" else command(machine, rest)
    except Failed as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def command(machine: Machine, words: list[str]) -> int:
    def show(stream: str, data: bytes) -> None:
        print_raw(1 if stream == "out" else 2, data)

    return machine.run(*words, timeout_s=SHELL_S, cwd=HOME, listener=show).code


def print_raw(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def shell(machine: Machine) -> int:
    """A login shell in a terminal of its own."""
    size = shutil.get_terminal_size()
    number = machine.channel.number()
    environment = {"TERM": os.environ.get("TERM", "dumb")}
    over, ended = os.pipe()

    def interact() -> None:
        try:
            machine.channel.run(
                ["bash", "-l"],
                timeout_s=SHELL_S,
                environment=environment,
                terminal=(size.lines, size.columns),
                listener=lambda stream, data: print_raw(1, data),
                number=number,
            )
        except Failed as error:
            say(str(error))
        finally:
            os.close(ended)

    threading.Thread(target=interact, daemon=True).start()
    with raw_terminal():
        while True:
            ready, _, _ = select.select([0, over], [], [])
            if over in ready:
                return 0
            if not (data := os.read(0, 4096)):
                data = b"\x04"
            machine.channel.type(number, data)
            if data == b"\x04" and not sys.stdin.isatty():
                select.select([over], [], [])
                return 0


@contextlib.contextmanager
def raw_terminal() -> Iterator[None]:
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
