"""What a configuration's reader should know although nothing is wrong."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning, with its place where it has one; ``line`` and ``column`` count from 1."""

    message: str
    key: str | None
    line: int | None
    column: int | None
    file: str | None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return f"{place}: {self.message}" if place else self.message
