"""The command line's grammar: what is before the verb, and a parser for the verb itself."""

from __future__ import annotations

import argparse
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from wirt.cli.verbs import Verb

USAGE = 2
"""The exit code for a command line that is wrong."""

XL_GLOBALS = frozenset({"-v", "-vv", "-vvv", "-f", "-t", "-T"})
"""xl's options before the verb that change nothing here, accepted so that scripts keep working."""


class Globals:
    """What was said before the verb."""

    __slots__ = ("dry_run", "help", "output", "rest", "version")

    def __init__(self) -> None:
        self.output = "text"
        self.dry_run = False
        self.help = False
        self.version = False
        self.rest: list[str] = []


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Knows the terminal's width by itself: argparse would import ``shutil`` for it on every run, 6 ms."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **{"max_help_position": 26, **options, "width": columns()})


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        usage_error(message, f"{self.prog} --help")


def usage_error(message: str, more: str = "wirt help") -> NoReturn:
    """Ends the command with exit code 2."""
    from wirt.cli.text import printable

    sys.stderr.write(f"wirt: {printable(message)}\n  hint: {printable(more)}\n")
    raise SystemExit(USAGE)


def columns() -> int:
    """The terminal's width, and at most what reads well."""
    try:
        width = int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        try:
            width = os.get_terminal_size(sys.stdout.fileno()).columns
        except (OSError, ValueError, AttributeError):
            width = 0
    return min(width - 2, 100) if width > 20 else 78


def read_globals(words: list[str]) -> Globals:
    """Takes what is before the verb off ``words``; the rest begins with the verb."""
    found = Globals()
    left = list(words)
    while left and left[0].startswith("-") and left[0] != "--":
        word = left.pop(0)
        if word in ("-h", "--help"):
            found.help = True
        elif word == "--version":
            found.version = True
        elif word == "-N":
            found.dry_run = True
        elif word in ("-o", "--output"):
            found.output = _output(left.pop(0) if left else "")
        elif word.startswith(("-o", "--output=")):
            found.output = _output(word.removeprefix("--output=").removeprefix("-o"))
        elif word not in XL_GLOBALS:
            usage_error(f"unknown option {word}")
    found.rest = left
    return found


def _output(word: str) -> str:
    if word not in ("text", "json"):
        usage_error(f"-o takes text or json, not '{word}'")
    return word


def verb_parser(verb: Verb, output: str) -> Parser:
    """A parser with what every verb has; the verb's module adds the rest."""
    parser = Parser(
        prog=f"wirt {verb.name}",
        description=verb.help[0].upper() + verb.help[1:] + ".",
        formatter_class=Formatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "json"),
        default=output,
        help="json prints one JSON document (default: text)",
    )
    return parser


def seconds(word: str) -> float:
    """For ``--timeout``: a number of seconds, above zero."""
    value = float(word)
    if not 0 < value < 1e9:
        raise ValueError(word)
    return value
