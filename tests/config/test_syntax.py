"""Where a text stops making sense, its writer is told so in words; edits keep the rest of it."""

from __future__ import annotations

import pytest

from wirt.config.xlcfg import with_value
from wirt.config.xlcfg.document import render
from wirt.config.xlcfg.syntax import Items, Text, parse
from wirt.model.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a = b", 1, 5, "strings need quotes"),
        ("a = 1 2", 1, 7, "the end of the line"),
        ("a = 512M", 1, 8, "a number has no unit"),
        ("a = 512m", 1, 8, "numbers have no unit"),
        ("a = 0x1F", 1, 8, "lower case"),
        ("a = True", 1, 5, "write 1 for true"),
        ("Name = 1", 1, 1, "lower case"),
        ("a = -1", 1, 5, "quote a negative number"),
        ("a = 1 \\\n + 2", 1, 7, "does not continue"),
        ("a = 2 * 3", 1, 7, "never run as Python"),
        ("a = 'x", 1, 5, "does not end on its line"),
        ("a = 'x\ny'", 1, 5, "does not end on its line"),
        ("a = '\\q'", 1, 6, "is no escape"),
        ("a = '\\x1'", 1, 6, "two hexadecimal digits"),
        ("a = [1\nb = 2", 2, 1, "a comma or ]"),
        ("\n a = [\n1,", 2, 6, "never closed"),
        ("a = [,]", 1, 6, "expected a value"),
        ("a = [1,,2]", 1, 8, "expected a value"),
        ("a", 1, 1, "= or +="),
        ("a =", 1, 3, "the text ends here"),
        ("a =\n1", 1, 4, "the end of the line"),
        ("= 1", 1, 1, "a key"),
        ("a = 1\n]", 2, 1, "a key"),
        ("a = §", 1, 5, "no meaning"),
        ("a = 1\0", 1, 6, "NUL"),
    ],
)
def test_errors_say_what_was_expected_and_where(text: str, line: int, column: int, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, file="f")
    error = caught.value
    assert (error.file, error.line, error.column) == ("f", line, column)
    assert words in str(error)


def test_nodes_know_where_they_stand() -> None:
    text = "a = 1\nkey += [ 'x', [\n2 ] ] # end\n"
    first, second = parse(text, file="f").assignments
    assert (text[first.start : first.end], text[second.start : second.end]) == ("a = 1", "key += [ 'x', [\n2 ] ]")
    assert isinstance(second.value, Items)
    item = second.value.items[0]
    assert isinstance(item, Text)
    assert (item.value, item.written) == ("x", "'x'")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a", '"a"'),
        ('say "hi"', "'say \"hi\"'"),
        ('it\'s "it"', '"it\'s \\"it\\""'),
        ("a\\b\tc\n", '"a\\\\b\\tc\\n"'),
        (5, "5"),
        (-5, '"-5"'),
        (True, "1"),
        ([], "[]"),
        (["a", ["b", 1]], '["a", ["b", 1]]'),
        (["x" * 60, "y" * 60], '[\n    "' + "x" * 60 + '",\n    "' + "y" * 60 + '",\n]'),
    ],
)
def test_values_are_written_for_people(value: str | int | list[object], written: str) -> None:
    assert render(value) == written  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# c\nk = 1 # one\nx=2\n", "# c\nk = 7 # one\nx=2\n"),
        ("k=1;x=2", "k = 7;x=2"),
        ("k=1\n  k = 2  \nx=2", "  k = 7  \nx=2"),
        ("k = 'a'\n\nk += 'b'\n", "\nk = 7\n"),
        ("k=1; k=2", "; k = 7"),
        ("x=1", "x=1\nk = 7\n"),
        ("x=1\r\n", "x=1\r\nk = 7\r\n"),
        ("", "k = 7\n"),
    ],
)
def test_an_edit_touches_one_key(before: str, after: str) -> None:
    assert with_value(before, "k", 7) == after


def test_a_removed_key_takes_its_line_along() -> None:
    assert with_value("a=1\n  k = [\n1\n]  \nb=2\n", "k", None) == "a=1\nb=2\n"
    assert with_value("k=1 # why\n", "k", None) == " # why\n"
    assert with_value("a=1\n", "k", None) == "a=1\n"
