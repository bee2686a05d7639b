"""The commands: from the table of verbs and each verb's own parser."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from tools.manual.blocks import Block, Code, Heading, Table
from tools.manual.surroundings import environment, exit_codes, files

from wirt.cli.arguments import Parser, verb_parser
from wirt.cli.help import INTRO
from wirt.cli.verbs import VERBS, Verb


def commands_page() -> Iterator[Block]:
    yield "`wirt VERB [options]`. `wirt VERB --help` prints the same as this page."
    yield from global_options()
    yield from verbs()
    yield Heading(2, "Exit codes")
    yield exit_codes()
    yield Heading(2, "Environment")
    yield environment()


def commands_manual() -> Iterator[Block]:
    yield Heading(1, "SYNOPSIS")
    yield Code("wirt VERB [options]\nwirt help [VERB | keys [PATTERN]]")
    yield Heading(1, "DESCRIPTION")
    yield INTRO.split("\n\n", 1)[1].strip()
    yield "It talks to `wirtd`(8), and starts it when none runs."
    yield Heading(1, "OPTIONS")
    yield from global_options()
    yield from (_as_in_a_manual(block) for block in verbs())
    yield Heading(1, "EXIT STATUS")
    yield exit_codes()
    yield Heading(1, "ENVIRONMENT")
    yield environment()
    yield Heading(1, "FILES")
    yield files()
    yield Heading(1, "SEE ALSO")
    yield "`wirt.cfg`(5), `wirtd`(8), `xl`(1)"


def _as_in_a_manual(block: Block) -> Block:
    """A group of verbs is a section, which manuals shout; a verb is a subsection."""
    if not isinstance(block, Heading):
        return block
    return Heading(1, block.text.upper()) if block.level == 2 else Heading(2, block.text)


def global_options() -> Iterator[Block]:
    yield Table(
        ("before the verb", "meaning"),
        (
            ("`-o text`, `-o json`", "what is printed; each verb takes it too"),
            ("`-N`", "dry run, for verbs that have one"),
            ("`--version`", "the version of wirt"),
            ("`-h`, `--help`", "the list of verbs"),
            ("`-v`, `-f`, `-t`, `-T`", "accepted for xl's sake"),
        ),
    )


def verbs() -> Iterator[Block]:
    for group in dict.fromkeys(verb.group for verb in VERBS.values()):
        yield Heading(2, group)
        for verb in VERBS.values():
            if verb.group == group:
                yield Heading(3, f"wirt {verb.name}")
                yield from verb_blocks(verb)


def verb_blocks(verb: Verb) -> Iterator[Block]:
    parser = parser_of(verb)
    yield parser.description or ""
    yield Code(usage(parser))
    rows = tuple((words_of(action), meaning(action)) for action in parser._actions if told(action))
    if rows:
        yield Table(("word", "meaning"), rows)
    if parser.epilog:
        yield from _epilog(parser.epilog)


def parser_of(verb: Verb) -> Parser:
    """The verb's parser, as ``wirt VERB --help`` makes it."""
    module = __import__(f"wirt.cli.{verb.module}", fromlist=[verb.suffix])
    parser = verb_parser(verb, "text")
    getattr(module, f"options_{verb.suffix}")(parser)
    return parser


def usage(parser: argparse.ArgumentParser) -> str:
    """One line, however wide: argparse's own breaks it differently from version to version."""
    optional = any(action.option_strings for action in parser._actions if told(action))
    names = [_positional(action) for action in parser._actions if not action.option_strings]
    return " ".join([parser.prog, *(["[options]"] if optional else []), *names])


def _positional(action: argparse.Action) -> str:
    name = _name(action)
    return {"*": f"[{name} ...]", "+": f"{name} ...", "?": f"[{name}]"}.get(str(action.nargs), name)


def _name(action: argparse.Action) -> str:
    if isinstance(action.metavar, str):
        return action.metavar
    return "|".join(str(choice) for choice in action.choices) if action.choices else action.dest.upper()


def told(action: argparse.Action) -> bool:
    """What every verb has is told once."""
    return action.dest not in ("help", "output") and action.help != argparse.SUPPRESS


def words_of(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{_name(action)}`"
    value = "" if action.nargs == 0 else f" {_name(action)}"
    return ", ".join(f"`{word}{value}`" for word in action.option_strings)


def meaning(action: argparse.Action) -> str:
    return action.help or f"one of {_name(action)}" if action.choices else action.help or ""


def _epilog(text: str) -> Iterator[Block]:
    """Prose, and after ``example:`` or ``examples:`` lines to type."""
    prose, _, examples = re.sub(r"(^|\n)examples?:\n", "\0", text, count=1).partition("\0")
    if prose.strip():
        yield " ".join(prose.split())
    if examples.strip():
        yield Code("\n".join(line.removeprefix("  ") for line in examples.rstrip().split("\n")))
