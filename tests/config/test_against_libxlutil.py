"""wirt reads a configuration as Xen's own parser does, save for these differences, each with a test, here or in
``test_devices_against_libxlutil.py``:

* a comment may end the text without a newline: libxlutil refuses that, and editors forget it;
* lines may end in CR LF: libxlutil calls CR a lexical error, and files come from Windows;
* ``\\xHH`` and ``\\OOO`` in strings stand for bytes: libxlutil refuses every ``\\x`` and drops the others
  without a word, both plainly by mistake;
* NUL is refused everywhere: libxlutil takes it in comments, but no text with NUL can be stored or passed on;
* bytes in values must be UTF-8: libxlutil takes any, but wirt sends and stores text;
* lists nest at most 32 deep and a text has at most 256 Ki characters: a daemon reads these texts for others;
* disks: a vdev must be a name of a disk, and only a cdrom can be empty, which xl finds out later, when half
  of the domain exists; ``colo-port`` must be a port; ``trusted``, ``untrusted``, ``grant_usage`` and
  ``transport`` are newer than 4.17; a specification has no line breaks;
* rates: less than one byte a second, and digits 8 and 9 after a leading 0, are refused rather than taken for
  no rate at all or cut short.

Not libxlutil's but xl's: numbers out of a key's range and lists with items of the wrong shape are errors here,
where xl prints a warning and goes on; ``type`` must be written out, where xl takes any beginning of it.
"""

from __future__ import annotations

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from wirt.config.xlcfg.document import render, with_value
from wirt.config.xlcfg.settings import integer, settle
from wirt.config.xlcfg.syntax import MAX_CHARACTERS, MAX_DEPTH, Items, Value, parse
from wirt.model.errors import ConfigError

from .libxlutil import Oracle, OracleValue


def plain(value: Value) -> OracleValue:
    return [plain(item) for item in value.items] if isinstance(value, Items) else value.value


def ours(text: str) -> dict[str, OracleValue] | None:
    try:
        found = settle(parse(text, file="f").assignments)
    except ConfigError:
        return None
    return {key: plain(setting.value) for key, setting in found.items()}


KEYS = ["a", "b", "name", "vif", "x.y", "c0_1"]
STRINGS = st.text(
    st.one_of(st.sampled_from("ab 1,=#[]"), st.characters(exclude_characters="\0\n\\'\"", codec="utf-8")),
    max_size=8,
)
ESCAPES = st.sampled_from(["\\n", "\\t", '\\"', "\\'", "\\\\", "\\a", "\\b", "\\f", "\\r", "\\v", "\\q", "\\ "])
LITERALS = st.builds(
    lambda mark, pieces: mark + "".join(pieces) + mark,
    st.sampled_from("'\""),
    st.lists(st.one_of(STRINGS, ESCAPES), max_size=3),
)
SPACES = st.sampled_from(["", " ", "\t"])
BREAKS = st.sampled_from(["", "", " ", "\n", "\n\n", " # note\n", "#\n\n"])
NUMBERS = st.sampled_from(["0", "12", "0x1f", "017", "0xx", "1a", "9f"])
ATOMS = st.one_of(NUMBERS, LITERALS)
VALUES: st.SearchStrategy[str] = st.recursive(
    ATOMS,
    lambda inner: st.builds(
        lambda items, gaps, comma: "[" + gaps[0] + (gaps[1] + "," + gaps[2]).join(items) + comma + "]",
        st.lists(inner, max_size=4),
        st.tuples(BREAKS, BREAKS, BREAKS),
        st.sampled_from(["", "", ",", " ,\n", "\n"]),
    ),
    max_leaves=6,
)
STATEMENTS = st.builds(
    lambda *parts: "".join(parts),
    SPACES,
    st.sampled_from(KEYS),
    SPACES,
    st.sampled_from(["=", "=", "+="]),
    SPACES,
    VALUES,
    SPACES,
)
DOCUMENTS = st.builds(
    lambda statements, end: "".join(each + gap for each, gap in statements) + end,
    st.lists(
        st.tuples(
            st.one_of(STATEMENTS, st.just("")),
            st.sampled_from(["\n", "\n", ";", "# it's\n", "\n\n", " ; ;"]),
        ),
        max_size=6,
    ),
    st.one_of(STATEMENTS, st.just("")),
)
TOKENS = st.lists(
    st.one_of(
        st.sampled_from(KEYS),
        st.sampled_from([*"=;,[]\n\n# '\"\\-+.:(){}A_\t\v", "+=", "= 1\n", "=[", "]\n", "\na=", "True", "é"]),
        ATOMS,
    ),
    max_size=12,
).map("".join)


NUMERIC = re.compile(r"\\[0-7x]")


def compare(oracle: Oracle, text: str) -> None:
    if NUMERIC.search(text):
        return  # libxlutil wants three octal digits, and then loses the byte that they stand for
    # Ours needs no newline after a last comment (test below), so the oracle always gets one.
    mine = ours(text)
    theirs = oracle.values(text if text.endswith("\n") else text + "\n", {*KEYS, *(mine or ())})
    assert mine is None if theirs is None else mine == theirs


@settings(max_examples=250, deadline=None)
@example("a=1;b=2")
@example("a=[\n]\nb=[1,]")
@example("a=[,]")
@example("a='1'\na+='2'\na='3'")
@example("a=[1]\na+=[[2],'3']\na+=[]")
@example("a+=1")
@example("a=1\na+=[1]")
@given(DOCUMENTS)
def test_documents_mean_the_same(oracle: Oracle, text: str) -> None:
    compare(oracle, text)


@settings(max_examples=300, deadline=None)
@given(TOKENS)
def test_jumbles_of_tokens_are_accepted_and_refused_alike(oracle: Oracle, text: str) -> None:
    compare(oracle, text)


@settings(max_examples=300, deadline=None)
@example("a=['\\n', 0, 0]", 0.375, 0, "12")
@given(DOCUMENTS, st.floats(0, 1), st.integers(0, 2), TOKENS.filter(lambda tokens: len(tokens) < 6))
def test_damaged_documents_are_accepted_and_refused_alike(
    oracle: Oracle, text: str, where: float, removed: int, added: str
) -> None:
    at = int(where * len(text))
    compare(oracle, text[:at] + added + text[at + removed :])


@settings(max_examples=300, deadline=None)
@example("0x")
@example("08")
@example(" -0x7fffffffffffffff")
@example("9223372036854775808")
@example("-9223372036854775808")
@example("1 ")
@given(st.from_regex(r"[ \t]?[+-]?(0x?)?[0-9a-fA-F]{0,20}[ x]?", fullmatch=True))
def test_numbers_are_read_alike(oracle: Oracle, number: str) -> None:
    assert integer(number) == oracle.number(f'a = "{number}"\n', "a")


def test_numbers_refuse_to_be_appended_to_as_in_xl(oracle: Oracle) -> None:
    assert oracle.number("a = 1\na += 2\n", "a") is None


PLAIN: st.SearchStrategy[object] = st.recursive(
    st.one_of(
        st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=10),
        st.integers(min_value=0, max_value=2**63),
    ),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(PLAIN)
def test_what_is_written_is_read_back_by_both(oracle: Oracle, value: object) -> None:
    def expected(each: object) -> OracleValue:
        return [expected(item) for item in each] if isinstance(each, list) else str(each)

    text = f"a = {render(value)}\n"  # type: ignore[arg-type]
    assert ours(text) == {"a": expected(value)} == oracle.values(text, ["a"])


@settings(max_examples=200, deadline=None)
@given(
    DOCUMENTS, st.sampled_from(KEYS), st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=5)
)
def test_an_edit_changes_one_key_and_nothing_else(oracle: Oracle, text: str, key: str, value: str) -> None:
    before = ours(text)
    if before is None:
        return
    after = with_value(text, key, value)
    assert ours(after) == {**before, key: value}
    if text.endswith("\n"):
        assert oracle.values(after, KEYS) == {**before, key: value}
    removed = with_value(after, key, None)
    assert ours(removed) == {each: kept for each, kept in before.items() if each != key}


def test_difference_a_last_comment_needs_no_newline(oracle: Oracle) -> None:
    assert oracle.values("a=1\n# end", ["a"]) is None
    assert ours("a=1\n# end") == {"a": "1"}


def test_difference_lines_may_end_in_cr_lf(oracle: Oracle) -> None:
    assert oracle.values("a=1\r\nb=2\r\n", ["a"]) is None
    assert ours("a=1\r\nb=[\r\n2]\r\n") == {"a": "1", "b": ["2"]}
    assert ours("a=1\rb=2\r") is None


def test_difference_numeric_escapes_are_bytes(oracle: Oracle) -> None:
    assert oracle.values('a="\\x41"\n', ["a"]) is None
    assert oracle.values('a="<\\101>"\n', ["a"]) == {"a": "<>"}
    assert ours('a="\\x41\\101"') == {"a": "AA"}
    assert ours('a="\\xc3\\xbc"') == {"a": "ü"}
    for wrong in ("\\x4", "\\xg0", "\\8", "\\000", "\\x00", "\\400", "\\xff"):
        assert ours(f'a="{wrong}"') is None


def test_difference_nul_is_refused(oracle: Oracle) -> None:
    assert oracle.values("# \0\na=1\n", ["a"]) == {"a": "1"}
    assert ours("# \0\na=1\n") is None


def test_difference_values_are_utf8(oracle: Oracle) -> None:
    latin = "# f\udcfcr\na='f\udcfcr'\n"
    assert oracle.values(latin, ["a"]) == {"a": "f\udcfcr"}
    assert ours(latin) is None
    assert ours("# f\udcfcr\na='fur'\n") == {"a": "fur"}


def test_difference_depth_and_length_are_bounded(oracle: Oracle) -> None:
    def nested(depth: int) -> str:
        return "a=" + "[" * depth + "]" * depth + "\n"

    assert oracle.values(nested(MAX_DEPTH + 1), ["a"]) is not None
    assert ours(nested(MAX_DEPTH)) is not None
    assert ours(nested(MAX_DEPTH + 1)) is None
    assert ours("#" + "x" * MAX_CHARACTERS) is None
