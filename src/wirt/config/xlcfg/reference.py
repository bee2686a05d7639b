"""The table of keys as a page of Markdown, for the documentation."""

from __future__ import annotations

from collections.abc import Iterable

from wirt.config.xlcfg.keys import KEYS, Group, Key
from wirt.config.xlcfg.keys.row import EVERY_GUEST

_HEAD = """# Keys of a domain's configuration

Every key that an xl.cfg may hold. A key that no hypervisor honours yet is read, checked, kept, and named in a
warning. Numbers are decimal, octal after `0` or hexadecimal after `0x`.
"""


def reference_markdown() -> str:
    """One section a group, one table row a key."""
    return "\n".join([_HEAD, *(_section(group) for group in Group)])


def _section(group: Group) -> str:
    rows = [_row(key) for key in KEYS.values() if key.group is group]
    head = ["| key | type | default | guests | honoured by | meaning |", "|---|---|---|---|---|---|"]
    return "\n".join([f"## {group.value}", "", *head, *rows, ""])


def _row(key: Key) -> str:
    guests = "all" if key.guests == EVERY_GUEST else _words(key.guests)
    cells = [
        f"`{key.name}`",
        _type(key),
        key.default or "",
        guests,
        _words(key.honoured) or "none yet",
        _help(key),
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _type(key: Key) -> str:
    limits = []
    if key.low is not None:
        limits.append(f"at least {key.low}")
    if key.high is not None:
        limits.append(f"at most {key.high}")
    return key.type + (f", {' and '.join(limits)}" if limits else "")


def _help(key: Key) -> str:
    text = key.help
    if key.choices:
        text += " One of " + ", ".join(f"`{choice}`" for choice in key.choices) + "."
    return f"**Deprecated: use `{key.instead}`.** {text}" if key.instead else text


def _words(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
