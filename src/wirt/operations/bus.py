"""What happens, told to whoever listens: bounded for the slow, with a short memory for the late."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from wirt.ports.clock import Clock

MEMORY = 1000
"""Events that are kept for listeners who come late or fall behind."""


@dataclass(frozen=True, slots=True)
class Happening:
    """``kind``: ``domain``, ``job``, ``network`` or ``host``. ``data`` holds JSON values only."""

    seq: int
    time: float
    kind: str
    domain: str | None
    uuid: UUID | None
    data: dict[str, Any] = field(default_factory=dict)


class Bus:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: deque[Happening] = deque(maxlen=MEMORY)
        self._changed = asyncio.Event()
        self.seq = 0

    def publish(self, kind: str, domain: str | None, uuid: UUID | None, data: dict[str, Any]) -> None:
        self.seq += 1
        self._kept.append(Happening(self.seq, self._clock.now(), kind, domain, uuid, data))
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def follow(self, after: int | None = None) -> AsyncIterator[Happening]:
        """Everything with a greater ``seq`` than ``after`` (``None``: from now on). A listener that fell further
        behind than the memory goes on with the oldest that is kept: a gap in ``seq`` says so."""
        position = self.seq if after is None else after
        while True:
            changed = self._changed
            news = [happening for happening in self._kept if happening.seq > position]
            for happening in news:
                position = happening.seq
                yield happening
            if not news:
                await changed.wait()
