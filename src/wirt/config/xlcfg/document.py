"""Writing: values as text, and edits that leave everything else of a document as it was.

An edit replaces or removes whole assignments, or single strings inside one; comments, order and layout around
them stay. What is written here is read by libxlutil too, so no numeric escapes are used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wirt.config.xlcfg.syntax import Document, Items, Text, Value, parse

WIDTH = 100
_ESCAPES = str.maketrans(
    {
        "\\": "\\\\",
        "\a": "\\a",
        "\b": "\\b",
        "\f": "\\f",
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\v": "\\v",
    }
)

Plain = str | int | bool | Sequence["Plain"]


@dataclass(frozen=True, slots=True)
class Splice:
    """``text[start:end]`` becomes ``new``; an empty ``new`` also takes the line with it if nothing remains."""

    start: int
    end: int
    new: str


def quote(text: str) -> str:
    """``text`` as a string literal: in double quotes, unless single ones save escaping."""
    escaped = text.translate(_ESCAPES)
    if '"' not in escaped:
        return f'"{escaped}"'
    if "'" not in escaped:
        return f"'{escaped}'"
    return '"' + escaped.replace('"', '\\"') + '"'


def render(value: Plain) -> str:
    """A Python value as xl.cfg writes it; booleans are 1 and 0, long lists go over several lines."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, int):
        # The grammar has no minus sign; a quoted number is a number all the same.
        return str(int(value)) if value >= 0 else f'"{value}"'
    return _render_list([render(item) for item in value])


def render_node(value: Value, changed: Mapping[Text, str]) -> str:
    """A parsed value as text, with the strings in ``changed`` replaced."""
    if isinstance(value, Items):
        return _render_list([render_node(item, changed) for item in value.items])
    if value in changed:
        return quote(changed[value])
    return value.written if value.literal else quote(value.value)


def _render_list(items: list[str]) -> str:
    if sum(len(item) + 2 for item in items) <= WIDTH and not any("\n" in item for item in items):
        return f"[{', '.join(items)}]"
    lines = ("    " + item.replace("\n", "\n    ") + ",\n" for item in items)
    return "[\n" + "".join(lines) + "]"


def apply(text: str, splices: Iterable[Splice]) -> str:
    """``text`` with all splices made; they must not overlap."""
    parts: list[str] = []
    done = 0
    for splice in sorted(splices, key=lambda each: each.start):
        start, end = splice.start, splice.end
        if not splice.new:
            start, end = _whole_line(text, start, end)
        start = max(start, done)
        parts += (text[done:start], splice.new)
        done = max(end, start)
    parts.append(text[done:])
    return "".join(parts)


def _whole_line(text: str, start: int, end: int) -> tuple[int, int]:
    """The lines of ``text[start:end]``, if it has them to itself; else the range as it is."""
    line_start = text.rfind("\n", 0, start) + 1
    newline = text.find("\n", end)
    line_end = len(text) if newline < 0 else newline + 1
    if text[line_start:start].strip() or text[end:line_end].strip():
        return start, end
    return line_start, line_end


def append(text: str, lines: Sequence[str]) -> str:
    """``text`` with ``lines`` after it, in its own style of line ends."""
    if not lines:
        return text
    end = "\r\n" if "\r\n" in text else "\n"
    if text and not text.endswith("\n"):
        text += end
    return text + "".join(line.replace("\n", end) + end for line in lines)


def replace_key(document: Document, key: str, written: str | None) -> list[Splice]:
    """Splices that leave ``key`` with exactly the value ``written``, or with none at all if that is ``None``.

    The last assignment takes the value; the others, which it overrules or which led up to it, go. An absent
    key needs :func:`append` instead.
    """
    found = [each for each in document.assignments if each.key == key]
    splices = [Splice(each.start, each.end, "") for each in found]
    if found and written is not None:
        splices[-1] = Splice(found[-1].start, found[-1].end, f"{key} = {written}")
    return splices


def with_value(text: str, key: str, value: Plain | None, *, file: str = "<text>") -> str:
    """``text`` with ``key`` set to ``value`` (or removed, if that is ``None``) and all else untouched."""
    document = parse(text, file=file)
    written = None if value is None else render(value)
    if written is not None and all(each.key != key for each in document.assignments):
        return append(text, [f"{key} = {written}"])
    return apply(text, replace_key(document, key, written))
