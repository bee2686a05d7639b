"""Whatever it is fed, ``load`` answers soon, and fails only with an error that knows its place."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wirt.config.xlcfg import load
from wirt.config.xlcfg.syntax import MAX_CHARACTERS, parse
from wirt.model.errors import ConfigError

from . import samples

CWD = PurePosixPath("/cwd")
JUNK = st.text(st.one_of(st.sampled_from("\"'[]=+,;#\\\r\n \t\0"), st.characters()), max_size=12)


def attempt(text: str, overrides: tuple[str, ...] = ()) -> None:
    try:
        loaded = load(text, file="f", cwd=CWD, overrides=overrides)
    except ConfigError as error:
        assert error.line is not None and error.column is not None
        if error.file == "f":
            lines = text.split("\n")
            assert 1 <= error.line <= len(lines)
            assert 1 <= error.column <= max(1, len(lines[error.line - 1]) + 1)
        else:
            assert error.file == "<command line>"
            assert error.line >= 1
        assert str(error).isprintable()
        return
    loaded.text.encode("utf-8")
    for notice in loaded.notices:
        str(notice).encode("utf-8", "surrogateescape")
    assert load(loaded.text, file="g", cwd=PurePosixPath("/other")).config == loaded.config


@settings(max_examples=200, deadline=2000)
@given(st.text(st.characters(), max_size=60))
def test_any_text(text: str) -> None:
    attempt(text)


@settings(max_examples=250, deadline=2000)
@given(
    st.sampled_from(sorted(samples.ALL)), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 6), JUNK), max_size=3)
)
def test_mutated_files(sample: str, changes: list[tuple[float, int, str]]) -> None:
    text = samples.ALL[sample]
    for where, removed, added in changes:
        at = int(where * len(text))
        text = text[:at] + added + text[at + removed :]
    attempt(text)


@settings(max_examples=250, deadline=2000)
@given(
    st.sampled_from(["disk", "vif", "smbios", "cpus", "serial", "uuid", "name", "kernel", "rate", "boot"]),
    st.lists(
        st.one_of(
            JUNK,
            st.sampled_from(
                samples.words(
                    """, = /a raw xvda w target= format= vdev= phy: cdrom mac= 00:16:3e:0:0:1 bridge= ip= 1.2.3.4/8
                rate= 1Mb/s @20ms vlan= 10p/20 forward= tcp:22 net=user devid= mtu= model="""
                )
            ),
        ),
        max_size=8,
    ),
)
def test_specifications(key: str, pieces: list[str]) -> None:
    value = "".join(pieces)
    attempt(samples.HVM, (f"{key}={value}",))
    quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    attempt(samples.PVH + f'{key} = ["{quoted}"]\n')


@settings(max_examples=200, deadline=2000)
@given(st.lists(JUNK, max_size=3))
def test_any_overrides(overrides: list[str]) -> None:
    attempt(samples.PV, tuple(overrides))


@settings(max_examples=200, deadline=2000)
@given(st.text(st.characters(), max_size=40))
def test_an_accepted_document_is_kept_byte_for_byte(text: str) -> None:
    with suppress(ConfigError):
        assert parse(text, file="f").text == text


BIG = MAX_CHARACTERS - 20


@pytest.mark.parametrize(
    "text",
    [
        "a=" + "[" * 10_000_000,
        "a=" + "[" * BIG,
        "a=" + "[]," * (BIG // 3),
        "a=[" + "1," * (BIG // 2 - 5) + "]",
        "a='" + "x" * BIG,
        "a='" + "x" * BIG + "'",
        "a='" + "\\n" * (BIG // 2) + "'",
        "a" * BIG,
        "a" * (BIG - 2) + "=1",
        "a+=[1]\n" * (BIG // 7),
        "a+='1'\n" * (BIG // 7),
        "a=1\n" * (BIG // 4),
        "".join(f"k{n}=1\n" for n in range(100_000)),
        "\n" * BIG,
        "#" * BIG,
        "\t" * BIG,
        "'" * BIG,
        '"\\' * (BIG // 2),
        "name='" + "1" * BIG + "'",
        "memory=" + "1" * BIG,
        "disk=['" + "," * BIG + "']",
        "disk=['" + "phy:" * (BIG // 4) + "']",
        "disk=['" + "x:" * (BIG // 2) + "']",
        "vif=['" + "mac=," * (BIG // 5) + "']",
        "vif=['vlan=" + "1/" * (BIG // 2) + "']",
        "vif=['ip=" + "1.2.3.4 " * (BIG // 8) + "']",
        "vif=['rate=" + "1" * BIG + "B/s']",
        "vif=[" + "''," * (BIG // 3) + "]",
        "smbios=[" + "'oem=x'," * (BIG // 8) + "]\ntype='hvm'\nname='x'",
        "cpus='" + "0," * (BIG // 2) + "'",
    ],
    ids=lambda text: f"{text[:12]!a}...",
)
def test_enormous_texts_are_answered_within_seconds(text: str) -> None:
    start = time.perf_counter()
    for prefix in ("", "name='n'\ntype='hvm'\n"):
        try:
            load(prefix + text[: MAX_CHARACTERS * 10], file="f", cwd=CWD)
        except ConfigError as error:
            assert len(str(error)) < 5000
    assert time.perf_counter() - start < 10
