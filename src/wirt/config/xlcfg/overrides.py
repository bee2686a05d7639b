"""``key=value`` on the command line: lines that come after the file (xl(1), "create").

xl wants the file's own syntax there, quotes and all, which a shell takes away. So a value that is no value of
the syntax is taken as a string as it stands: ``name=web2``, ``kernel=/boot/vmlinuz``. What starts with a quote
or a bracket has to be right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from wirt.config.xlcfg.syntax import Assignment, Source, Text, parse
from wirt.model.errors import ConfigError

COMMAND_LINE = "<command line>"

_BARE = re.compile(r"[ \t]*(?P<key>[a-z][._0-9a-z]*)[ \t]*(?P<operator>\+?=)[ \t]*(?P<value>[^\n\0]*)")
_QUOTED = ('"', "'", "[")


def parse_overrides(overrides: Sequence[str]) -> list[Assignment]:
    """The assignments that the arguments make. Errors name ``<command line>``; their line is the number of
    the argument."""
    found: list[Assignment] = []
    for number, override in enumerate(overrides, 1):
        try:
            assignments = parse(override, file=COMMAND_LINE, first_line=number).assignments
        except ConfigError:
            bare = _bare(override, number)
            if bare is None:
                raise
            assignments = (bare,)
        if not assignments:
            raise Source(COMMAND_LINE, override, number).error(0, "expected key=value")
        found += assignments
    return found


def override(key: str, value: str) -> Assignment:
    """An assignment of a string that no text was written for."""
    source = Source(COMMAND_LINE, f"{key}={value}")
    start = len(key) + 1
    text = Text(value, source, start, len(source.text), literal=False)
    return Assignment(key, False, text, source, 0, len(source.text))


def _bare(text: str, number: int) -> Assignment | None:
    match = _BARE.fullmatch(text)
    if match is None or match["value"].startswith(_QUOTED) or not match["value"].isprintable():
        return None
    source = Source(COMMAND_LINE, text, number)
    value = Text(match["value"], source, match.start("value"), match.end("value"), literal=False)
    return Assignment(match["key"], match["operator"] == "+=", value, source, match.start("key"), len(text))
