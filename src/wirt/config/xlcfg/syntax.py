"""The grammar of xl.cfg(5), "SYNTAX": text to a :class:`Document`, nothing evaluated.

::

    document   = { [ assignment ] ( newline | ";" ) }
    assignment = key ( "=" | "+=" ) value
    value      = "string" | 'string' | number | "[" { value "," } [ value ] "]"

A value may go over several lines only inside brackets. ``#`` starts a comment, which ends its line. Keys are
lower case; a number is digits, ``x`` and ``a`` to ``f``, kept as text until a key says what it is for.

A document keeps its whole text, and every node the place where it stands in it, so that an untouched document
is written back byte for byte (:mod:`wirt.config.xlcfg.document` edits one).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

from wirt.model.errors import ConfigError

MAX_CHARACTERS = 1 << 18
MAX_DEPTH = 32
MAX_MESSAGE = 500

_TOKEN = re.compile(
    r"""(?P<space>[ \t]+)
    |(?P<newline>\r?\n|\#[^\n]*(?:\n|\Z))
    |(?P<word>[a-z][._0-9a-z]*)
    |(?P<number>[0-9][0-9a-fx]*)
    |(?P<string>"[^"\\\n]*(?:\\[^\n][^"\\\n]*)*"|'[^'\\\n]*(?:\\[^\n][^'\\\n]*)*')
    |(?P<assign>\+?=)
    |(?P<mark>[,;\[\]])
    |(?P<bad>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:x(?P<hex>[0-9a-fA-F]{2})|(?P<octal>[0-7]{1,3})|(?P<letter>.))", re.DOTALL)
_LETTERS = {
    '"': '"',
    "'": "'",
    "\\": "\\",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_PYTHON_WORD = re.compile(r"[A-Za-z_]\w*")


def readable(message: str) -> str:
    """``message`` fit for a terminal and a log: what it quotes may hold anything, of any length."""
    if len(message) > MAX_MESSAGE:
        message = message[:MAX_MESSAGE] + "..."
    if message.isprintable():
        return message
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in message)


class Source:
    """A text and what it is called; turns offsets into lines and columns (both from 1) on demand."""

    __slots__ = ("_starts", "file", "first_line", "text")

    def __init__(self, file: str, text: str, first_line: int = 1) -> None:
        self.file = file
        self.text = text
        self.first_line = first_line
        self._starts: list[int] | None = None

    def place(self, offset: int) -> tuple[int, int]:
        if self._starts is None:
            self._starts = [0, *(match.end() for match in re.finditer("\n", self.text))]
        offset = max(0, min(offset, len(self.text) - 1))
        index = bisect_right(self._starts, offset) - 1
        return self.first_line + index, offset - self._starts[index] + 1

    def error(self, offset: int, message: str, *, key: str | None = None, hint: str | None = None) -> ConfigError:
        line, column = self.place(offset)
        message, hint = readable(message), hint and readable(hint)
        return ConfigError(message, hint=hint, file=self.file, line=line, column=column, key=key)


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """A string or a number: ``value`` is what it says, ``source.text[start:end]`` how it is written.

    ``literal`` is false when that slice isn't a value by itself: a bare word of the command line, or several
    strings joined by ``+=``.
    """

    value: str
    source: Source
    start: int
    end: int
    literal: bool = True

    @property
    def written(self) -> str:
        return self.source.text[self.start : self.end]

    def offset(self, index: int) -> int:
        """Where character ``index`` of ``value`` stands in the source, as exactly as escapes allow."""
        written = self.written
        if not self.literal or "\\" in written:
            return self.start
        return self.start + index + (written[:1] in "\"'")


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """A list; ``start`` and ``end`` enclose its brackets."""

    items: tuple[Value, ...]
    source: Source
    start: int
    end: int


Value = Text | Items


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """``key = value`` or ``key += value``, from the first letter of the key to the end of the value."""

    key: str
    added: bool
    value: Value
    source: Source
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    source: Source
    assignments: tuple[Assignment, ...]

    @property
    def text(self) -> str:
        return self.source.text


def parse(text: str, *, file: str, first_line: int = 1) -> Document:
    """The document that ``text`` spells. Raises :class:`ConfigError` at the first thing that is wrong.

    Bytes that aren't UTF-8 (decoded with ``surrogateescape``) are kept in comments and refused in values.
    """
    source = Source(file, text, first_line)
    if len(text) > MAX_CHARACTERS:
        raise source.error(0, f"the configuration has more than {MAX_CHARACTERS} characters")
    nul = text.find("\0")
    if nul >= 0:
        raise source.error(nul, "a NUL character, which no configuration can hold")
    return Document(source, tuple(_Parser(source).assignments()))


class _Parser:
    """Recursive descent over tokens that are made one at a time, so that the first error stops all work."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._tokens = _TOKEN.finditer(source.text)
        self._kind = ""
        self._key: str | None = None
        self._start = self._end = self._before = 0
        self._advance()

    def assignments(self) -> list[Assignment]:
        found: list[Assignment] = []
        while True:
            self._key = None
            while self._kind == "newline" or self._is(";"):
                self._advance()
            if self._kind == "end":
                return found
            found.append(self._assignment())

    def _assignment(self) -> Assignment:
        if self._kind != "word":
            raise self._unexpected("a key, as in key = value")
        start, key = self._start, self._token()
        self._advance()
        if self._kind != "assign":
            raise self._unexpected(f"= or += after {_short(key)}")
        added = self._token() == "+="
        self._key = key
        self._advance()
        value = self._value(0)
        if self._kind not in ("newline", "end") and not self._is(";"):
            raise self._unexpected("the end of the line after the value")
        return Assignment(key, added, value, self._source, start, value.end)

    def _value(self, depth: int) -> Value:
        start, end = self._start, self._end
        if self._kind == "number":
            value = Text(self._token(), self._source, start, end)
            self._advance()
            return value
        if self._kind == "string":
            value = Text(_unquote(self._source, start, end), self._source, start, end)
            self._advance()
            return value
        if self._is("["):
            return self._items(depth + 1)
        raise self._unexpected("a value: a quoted string, a number or a [list]")

    def _items(self, depth: int) -> Items:
        start = self._start
        if depth > MAX_DEPTH:
            raise self._source.error(start, f"lists are nested more than {MAX_DEPTH} deep", key=self._key)
        items: list[Value] = []
        self._advance()
        self._skip_newlines(start)
        while not self._is("]"):
            items.append(self._value(depth))
            self._skip_newlines(start)
            if self._is(","):
                self._advance()
                self._skip_newlines(start)
            elif not self._is("]"):
                raise self._unexpected("a comma or ] after an item of a list")
        end = self._end
        self._advance()
        return Items(tuple(items), self._source, start, end)

    def _skip_newlines(self, opened_at: int) -> None:
        while self._kind == "newline":
            self._advance()
        if self._kind == "end":
            raise self._source.error(opened_at, "this list is never closed: its ] is missing", key=self._key)

    def _advance(self) -> None:
        self._before = self._start
        for match in self._tokens:
            kind = match.lastgroup
            if kind == "bad":
                raise _lexical(self._source, match.start(), self._key)
            if kind != "space":
                self._kind, self._start, self._end = str(kind), match.start(), match.end()
                return
        self._kind = "end"
        self._start = self._end = len(self._source.text)

    def _token(self) -> str:
        return self._source.text[self._start : self._end]

    def _is(self, mark: str) -> bool:
        return self._kind == "mark" and self._source.text[self._start] == mark

    def _unexpected(self, expected: str) -> ConfigError:
        if self._kind == "end":
            return self._source.error(self._before, f"the text ends here; expected {expected}", key=self._key)
        found = "the end of the line" if self._kind == "newline" else _short(self._token())
        hint = None
        if self._kind == "word":
            hint = "strings need quotes"
            if self._source.text[self._start - 1 : self._start].isdigit():
                hint = "numbers have no unit"
        return self._source.error(self._start, f"expected {expected}, not {found}", key=self._key, hint=hint)


def _unquote(source: Source, start: int, end: int) -> str:
    """What the quoted string at ``start`` says. Numeric escapes stand for bytes, which must make UTF-8."""
    inner = source.text[start + 1 : end - 1]
    bad = _SURROGATE.search(inner)
    if bad:
        byte = ord(bad.group()) & 0xFF
        raise source.error(start + 1 + bad.start(), f"byte 0x{byte:02x} is not UTF-8; values must be UTF-8")
    if "\\" not in inner:
        return inner
    text = _ESCAPE.sub(lambda match: _unescape(source, start + 1, match), inner)
    if _SURROGATE.search(text) is None:
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeDecodeError:
        raise source.error(start, "the numeric escapes in this string do not make UTF-8") from None


def _unescape(source: Source, base: int, match: re.Match[str]) -> str:
    letter = match["letter"]
    if letter is not None:
        if letter not in _LETTERS:
            what = "\\x needs two hexadecimal digits" if letter == "x" else f"\\{letter} is no escape"
            hint = "write \\\\ for a backslash"
            raise source.error(base + match.start(), f"in a string, {what}", hint=hint)
        return _LETTERS[letter]
    byte = int(match["hex"], 16) if match["hex"] else int(match["octal"], 8)
    if not 0 < byte < 256:
        raise source.error(base + match.start(), f"{match.group()} does not stand for a byte from 1 to 255")
    return chr(byte) if byte < 128 else chr(0xDC00 + byte)


def _lexical(source: Source, offset: int, key: str | None) -> ConfigError:
    """Why no token starts at ``offset``, as helpfully as one character allows."""
    text = source.text
    character = text[offset]
    if character in "\"'":
        return source.error(offset, f"a string starts with {character} and does not end on its line", key=key)
    word = _PYTHON_WORD.match(text, offset)
    if word is not None and character.isascii():
        if word.group() in ("True", "False", "None"):
            hint = "write 1 for true, 0 for false, and leave out what has no value"
        elif text[offset - 1 : offset].isdigit():
            hint = "a number has no unit, and its hexadecimal digits are lower case"
        else:
            hint = "keys and hexadecimal digits are lower case, strings need quotes"
        return source.error(offset, f"{_short(word.group())} is not part of the syntax", key=key, hint=hint)
    if character == "-":
        return source.error(offset, "- starts no value", hint='quote a negative number: "-1"')
    if character == "\\":
        hint = "only a list in brackets goes on over several lines"
        return source.error(offset, "a backslash does not continue a line", key=key, hint=hint)
    if character in "+(){}.:*/%@&|<>!":
        hint = "the file is never run as Python: write the value out"
        return source.error(offset, f"{character} starts no value", key=key, hint=hint)
    if _SURROGATE.match(character):
        return source.error(offset, f"byte 0x{ord(character) & 0xFF:02x} is not UTF-8", key=key)
    return source.error(offset, f"the character {character!a} has no meaning here", key=key)


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
