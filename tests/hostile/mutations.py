"""Real samples, damaged at random from a seed: cut, doubled, bits turned, pieces swapped, numbers blown up."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

_INTERESTING = (
    b"\0",
    b"\xff" * 8,
    b"\x7f" + b"\xff" * 7,
    b"-1",
    b"1" + b"0" * 5000,
    b"1e999",
    b"NaN",
    b"[" * 2000,
    b'{"a":' * 500,
    b"\n",
    b"\\u0000\\ud800",
    b"\x1b]0;title\x07\x1b[2J",
    b"A" * 70_000,
    b"null",
    b'"',
    b"\xc3\x28",
)


def mutated(samples: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    for _ in range(count):
        data = bytearray(chance.choice(samples))
        for _ in range(chance.randrange(1, 5)):
            _mutate(data, samples, chance)
        yield bytes(data)


def _mutate(data: bytearray, samples: Sequence[bytes], chance: random.Random) -> None:
    place = chance.randrange(len(data) + 1)
    end = min(len(data), place + chance.randrange(1, 64))
    match chance.randrange(7):
        case 0:
            del data[place:]
        case 1:
            del data[place:end]
        case 2:
            data[place:place] = data[place:end]
        case 3:
            data[place:end] = chance.choice(_INTERESTING)
        case 4 if data:
            data[place % len(data)] ^= 1 << chance.randrange(8)
        case 5:
            other = chance.choice(samples)
            data[place:end] = other[place : place + 64]
        case _:
            data[place:place] = chance.randbytes(chance.randrange(1, 16))
