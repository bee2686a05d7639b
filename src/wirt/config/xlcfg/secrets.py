"""Passwords in an xl.cfg: kept as they were written, and shown to nobody.

What is shown has :data:`HIDDEN` in their place, and is refused when someone loads it again: a password that
everybody knows is worse than an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from wirt.config.xlcfg.document import Splice, apply, quote
from wirt.config.xlcfg.keys import KEYS
from wirt.config.xlcfg.settings import Setting
from wirt.config.xlcfg.syntax import Items, Text, Value, parse

HIDDEN = "********"
_INSIDE = re.compile(r"(?P<name>(?:vnc|spice)passwd=)(?P<secret>[^,]*)")
"""In a specification of several parts, as an entry of ``vfb`` is."""


def without_secrets(text: str, *, file: str = "<text>") -> str:
    """``text`` with every password hidden, those that a later assignment overrules too; all else untouched.
    Comments are shown as they are. ``ConfigError`` if it is no xl.cfg."""
    document = parse(text, file=file)
    splices = [
        splice
        for each in document.assignments
        for splice in _hidden(each.value, secret=each.key in KEYS and KEYS[each.key].secret)
    ]
    return apply(document.text, splices)


def refuse_hidden(settings: Mapping[str, Setting]) -> None:
    """``ConfigError`` at a password that is the mark in the place of one."""
    for setting in settings.values():
        row = KEYS.get(setting.key)
        for text in _texts(setting.value):
            inside = (match["secret"] for match in _INSIDE.finditer(text.value))
            if HIDDEN in inside or (row is not None and row.secret and text.value == HIDDEN):
                raise setting.error(
                    f"{HIDDEN} only stands for a password where one is hidden", hint="write the password itself"
                )


def _hidden(value: Value, *, secret: bool) -> Iterator[Splice]:
    for text in _texts(value):
        shown = HIDDEN if secret and text.value else _INSIDE.sub(rf"\g<name>{HIDDEN}", text.value)
        if shown != text.value:
            yield Splice(text.start, text.end, quote(shown))


def _texts(value: Value) -> Iterator[Text]:
    if isinstance(value, Items):
        for item in value.items:
            yield from _texts(item)
    else:
        yield value
