"""Lines of JSON from a peer that may lie: read in bounded memory and time, or refused."""

from __future__ import annotations

import asyncio
import json
import math
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wirt.hypervisors.qemu import events, untrusted
from wirt.hypervisors.qemu.untrusted import BoundedLines, Bucket, Malformed, Rate, parse

from .mutations import mutated

QMP = Path(__file__).with_name("samples").joinpath("qmp.jsonl").read_bytes().splitlines()

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def all_of(value: Any) -> list[Any]:
    """``value`` and everything in it."""
    found, todo = [], [value]
    while todo:
        found.append(each := todo.pop())
        todo += each.values() if isinstance(each, dict) else each if isinstance(each, list) else []
    return found


def assert_harmless(value: dict[str, Any]) -> None:
    for each in all_of(value):
        if isinstance(each, int):
            assert untrusted.LEAST_INTEGER <= each <= untrusted.MOST_INTEGER
        if isinstance(each, float):
            assert math.isfinite(each)
    assert len(repr(value)) > 0, "no code that walks through it goes too deep"


def check(line: bytes) -> None:
    try:
        value = parse(line)
    except Malformed as error:
        assert len(str(error)) < 100
        assert str(error).isprintable()
    else:
        assert_harmless(value)


def test_all_that_a_real_qemu_said_is_understood() -> None:
    assert len(QMP) > 20
    for line in QMP:
        assert parse(line) == json.loads(line)


@given(st.dictionaries(st.text(), json_values))
def test_what_is_honest_is_read_as_it_was_meant(value: dict[str, Any]) -> None:
    line = json.dumps(value).encode()
    try:
        assert parse(line) == value
    except Malformed:
        numbers = [each for each in all_of(value) if isinstance(each, int | float)]
        assert any(not math.isfinite(n) or abs(n) > untrusted.LEAST_INTEGER * -1 for n in numbers)


@given(st.binary(max_size=300))
def test_no_bytes_are_too_strange(line: bytes) -> None:
    check(line)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "nested more than 64 deep"),
        (b'{"a": ' + b"[" * 200_000, "more than 50000 parts"),
        (b'{"a": [' + b"[]," * 60_000 + b"[]]}", "more than 50000 parts"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "more than 64 bits"),
        (b'{"a": 18446744073709551616}', "more than 64 bits"),
        (b'{"a": -9223372036854775809}', "more than 64 bits"),
        (b'{"a": 1e999}', "beyond all bounds"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": "\xc3\x28"}', "not UTF-8|not JSON"),
        (b"[1, 2]", "no object"),
        (b"", "not JSON"),
        (b'{"a"', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        ('{"a": 1}'.encode("utf-16"), "not JSON|not UTF-8"),
    ],
)
def test_what_is_refused_is_named(line: bytes, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        parse(line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"a": "' + b"[" * 10_000 + b'"}',
        b'{"a": "' + b'\\"[{' * 10_000 + b'"}',
        b'{"a": [' + b"[]," * 10_000 + b"[]]}",
        b'{"a": 18446744073709551615, "b": -9223372036854775808, "c": "1e999", "d": 1.5e3}',
    ],
)
def test_brackets_and_digits_in_strings_are_no_depth_and_no_number(line: bytes) -> None:
    assert parse(line) == json.loads(line)


def test_damaged_samples_are_understood_or_refused() -> None:
    for line in mutated(QMP, 3000, seed=1):
        check(line)
        assert events.cost(line) in (None, 1, 10)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_many_damaged_samples_are_understood_or_refused(seed: int) -> None:
    for line in mutated(QMP, 50_000, seed):
        check(line)


async def lines_of(data: bytes, pieces: list[int], most_bytes: int = 1000) -> tuple[list[bytes], str]:
    """What is read of ``data`` that comes in ``pieces``, and how it ended."""
    reader = asyncio.StreamReader()
    lines = BoundedLines(reader, most_bytes=most_bytes, rate=Rate(burst=10**6, per_s=10**6))
    place = 0
    for size in pieces:
        reader.feed_data(data[place : place + size])
        place += size
    reader.feed_data(data[place:])
    reader.feed_eof()
    found = []
    try:
        while True:
            found.append(await lines.next())
    except EOFError:
        return found, "end"
    except Malformed as error:
        return found, str(error)


@given(
    st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b"")), max_size=8),
    st.lists(st.integers(1, 50), max_size=20),
    st.sampled_from([b"\n", b"\r\n"]),
)
def test_lines_are_whole_however_they_come_in(lines: list[bytes], pieces: list[int], end: bytes) -> None:
    data = b"".join(line + end for line in lines)
    found, how = asyncio.run(lines_of(data + b"half a line", pieces))
    assert found == [line for line in lines if line]
    assert how == "end"


async def test_a_line_without_end_is_given_up_while_it_comes() -> None:
    found, how = await lines_of(b"short\n" + b"x" * 5000, [10, 900, 900])
    assert found == [b"short"]
    assert how == "a line of more than 1000 bytes"


async def test_the_longest_line_may_come_in_one_piece_with_others() -> None:
    found, _ = await lines_of(b"x" * 1000 + b"\ny\n", [])
    assert found == [b"x" * 1000, b"y"]
    _, how = await lines_of(b"y\n" + b"x" * 1001 + b"\n", [])
    assert how == "a line of more than 1000 bytes"


async def test_a_flood_is_read_only_so_fast_and_the_others_get_their_turn() -> None:
    reader = asyncio.StreamReader()
    lines = BoundedLines(reader, rate=Rate(burst=100, per_s=10_000))
    reader.feed_data(b'{"a": 1}\n' * 1000)
    loop = asyncio.get_running_loop()
    begin, turns = loop.time(), 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    for _ in range(1000):
        await lines.next()
    other.cancel()
    assert loop.time() - begin >= 0.085, "900 lines at 10000 a second"
    assert turns >= 20


async def test_noise_is_thrown_away_unread_and_unpaid() -> None:
    reader = asyncio.StreamReader()
    lines = BoundedLines(reader, rate=Rate(burst=1, per_s=1), cost=events.cost)
    noise = b'{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "GUEST_CRASHLOADED", "data": {}}\n'
    tracemalloc.start()
    try:
        for _ in range(50):
            reader.feed_data(noise * 1000)
            reader.feed_data(b'{"return": {}}\n')
            assert await asyncio.wait_for(line_at_no_cost(lines), 5) == b'{"return": {}}'
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


async def line_at_no_cost(lines: BoundedLines) -> bytes:
    lines._bucket = Bucket(Rate(), asyncio.get_running_loop().time())
    return await lines.next()


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 1000)), max_size=50))
@settings(max_examples=50)
def test_a_bucket_gives_no_more_than_its_rate(steps: list[tuple[float, int]]) -> None:
    rate = Rate(burst=100, per_s=50)
    bucket, now, taken = Bucket(rate, 0.0), 0.0, 0
    for pause, tokens in steps:
        now += pause
        now += bucket.take(tokens, now)
        taken += tokens
        assert taken <= rate.burst + rate.per_s * now + 1e-6
