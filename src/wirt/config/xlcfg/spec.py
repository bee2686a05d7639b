"""What disk and vif specifications share: a complaint that knows where in the specification it belongs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


class SpecError(Exception):
    """``offset`` counts characters of the specification; the caller knows in which file it stands."""

    def __init__(self, offset: int, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.offset = offset
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to tell the user that does not stop the domain."""

    offset: int
    message: str


@dataclass(frozen=True, slots=True)
class Part:
    """The text between two commas and where it starts; ``name`` and ``value`` if it has an equals sign."""

    text: str
    offset: int
    name: str | None = None
    value: str = ""

    @property
    def value_offset(self) -> int:
        return self.offset if self.name is None else self.offset + len(self.name) + 1


def part_at(spec: str, offset: int) -> tuple[Part, int]:
    """The part that starts at ``offset``, without leading blanks, and where the next one starts."""
    comma = spec.find(",", offset)
    end = len(spec) if comma < 0 else comma
    while offset < end and spec[offset] in " \t":
        offset += 1
    text = spec[offset:end]
    name, equals, value = text.partition("=")
    return Part(text, offset, name if equals else None, value), end + 1


def parts(spec: str) -> Iterator[Part]:
    """All parts of ``spec``."""
    offset = 0
    while offset < len(spec):
        part, offset = part_at(spec, offset)
        yield part
