"""A page as a list of blocks, drawn as Markdown or as roff (man(7), groff_man_style(7))."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

MADE_BY = "Made by tools/reference.py from wirt's own tables: edit those, then run it."


@dataclass(frozen=True)
class Heading:
    level: int
    text: str


@dataclass(frozen=True)
class Code:
    text: str


@dataclass(frozen=True)
class Table:
    """In Markdown a table; in roff each row is its first cell, with the others below it."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Heading | Code | Table | str
"""A string is a paragraph. In all text ``words in backquotes`` are what one types or reads on the screen."""


def markdown(title: str, blocks: Iterable[Block]) -> str:
    return "\n\n".join([f"<!-- {MADE_BY} -->", f"# {title}", *(_markdown(block) for block in blocks)]) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {text}"
        case Code(text):
            return f"```\n{text}\n```"
        case Table(head, rows):
            lines = (head, ("---",) * len(head), *rows)
            return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        case _:
            return block


def roff(name: str, section: str, what: str, blocks: Iterable[Block]) -> str:
    head = f'.\\" {MADE_BY}\n.TH {name.upper()} {section} "" wirt "wirt\'s manual"\n.SH NAME\n'
    return head + f"{_escaped(name)} \\- {_escaped(what)}\n" + "".join(_roff(block) for block in blocks)


def _roff(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f'{".SH" if level == 1 else ".SS"} "{_escaped(text)}"\n'
        case Code(text):
            lines = "\n".join(_line(_escaped(line)) for line in text.split("\n"))
            return f".PP\n.RS 4\n.nf\n{lines}\n.fi\n.RE\n"
        case Table(_, rows):
            return "".join(_item(row[0], row[1:]) for row in rows)
        case _:
            return f".PP\n{_line(_text(block))}\n"


def _item(term: str, rest: tuple[str, ...]) -> str:
    cells = [_line(_text(cell)) for cell in rest if cell]
    return f".TP\n{_line(_text(term))}\n" + "\n.br\n".join(cells) + "\n"


def _text(text: str) -> str:
    """Bold instead of backquotes, and links without their addresses."""
    plain = _escaped(re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", text))
    return re.sub(r"`([^`]+)`", r"\\fB\1\\fR", plain)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("^", "\\(ha")


def _line(text: str) -> str:
    """A line that starts like a request is none."""
    return f"\\&{text}" if text.startswith((".", "'")) else text
