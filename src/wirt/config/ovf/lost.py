"""What an appliance has and a domain has no place for, collected while reading: bounded, without repetition."""

from __future__ import annotations

from wirt.model.appliance import MOST_LOST
from wirt.model.text import plain

_MOST_CHARACTERS = 200


class Lost:
    def __init__(self) -> None:
        self._found: dict[str, None] = {}
        self._more = 0

    def add(self, what: str) -> None:
        words = plain(what, _MOST_CHARACTERS)
        if len(self._found) < MOST_LOST - 1:
            self._found[words] = None
        elif words not in self._found:
            self._more += 1

    def all(self) -> tuple[str, ...]:
        more = (f"{self._more} things more",) if self._more else ()
        return (*self._found, *more)
