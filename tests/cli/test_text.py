"""Nothing that others wrote can steer the terminal of the person who looks."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wirt.cli import text
from wirt.cli.info import format_info
from wirt.cli.listing import format_list
from wirt.cli.main import main
from wirt.client.api import Api
from wirt.client.decode import decode
from wirt.wire.v1 import Info

from . import samples

HOSTILE = st.text(
    st.one_of(st.sampled_from("\x1b\x07\x08\r\n\t\x7f\x9b\x9d\u202e\u2066 ab[]0;m"), st.characters()), max_size=30
)


def harmless(line: str) -> bool:
    return all(char.isprintable() or char == "\t" for char in line)


@given(HOSTILE)
def test_printable_text_stays_on_its_line_and_steers_nothing(value: str) -> None:
    assert text.printable(value).isprintable()
    assert all(harmless(line) for line in text.printable_lines(value).split("\n"))


@given(st.text(st.characters(categories=["L", "N", "P"]), max_size=30))
def test_what_is_printable_stays_as_it_is(value: str) -> None:
    assert text.printable(value) == value


@settings(deadline=None)
@given(name=HOSTILE, flags=HOSTILE, uuid=HOSTILE, reason=HOSTILE, verbose=st.booleans())
def test_no_text_of_the_server_puts_an_escape_into_list(
    name: str, flags: str, uuid: str, reason: str, verbose: bool
) -> None:
    domain = samples.domain("x", 1) | {"name": name, "flags": flags, "uuid": uuid, "end_reason": reason}
    table = format_list([domain], verbose=verbose)
    assert table.count("\n") == 2
    assert all(harmless(line) for line in table.splitlines())


@settings(deadline=None)
@given(HOSTILE)
def test_no_text_of_the_server_puts_an_escape_into_info(value: str) -> None:
    shown = format_info(decode(Info, samples.INFO | {"host": value, "notes": [value], "guest_types": [value]}))
    assert shown.count("\n") == len(samples.INFO) - 1
    assert all(harmless(line) for line in shown.split("\n"))


@settings(deadline=None, max_examples=50)
@given(HOSTILE, st.booleans())
def test_no_text_of_the_server_puts_an_escape_into_errors_or_json(value: str, as_json: bool) -> None:
    def refuse(*_: object, **__: object) -> Any:
        from wirt.client.api import problem

        raise problem(409, json.dumps({"title": value, "hint": value, "file": value, "key": value}).encode())

    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(Api, "domains", refuse)
        assert main(["list", "-o", "json" if as_json else "text"]) == 1
    assert all(harmless(line) for line in (out.getvalue() + err.getvalue()).split("\n"))
    if as_json:
        assert json.loads(out.getvalue())["error"]["title"] == value


@pytest.mark.parametrize(
    ("seconds", "long", "short"),
    [
        (0, " 0:00:00", " 0:00"),
        (59.9, " 0:00:59", " 0:00"),
        (86399, "23:59:59", "23:59"),
        (-1, " 0:00:00", " 0:00"),
    ],
)
def test_durations_are_xls(seconds: float, long: str, short: str) -> None:
    assert (text.duration(seconds), text.short_duration(seconds)) == (long, short)
