"""XML from strangers, read into a small tree: no document type, so no entities and nothing fetched; bounded in
size, depth, and number and length of everything. Sources: XML 1.0 (sections 2.8, 4.1), Python's
xml.parsers.expat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from wirt.model.errors import BadInput
from wirt.model.text import plain

MOST_BYTES = 16 * 1024 * 1024
MOST_ELEMENTS = 200_000
MOST_DEPTH = 64
MOST_TEXT = 64 * 1024
"""Characters of one element's text or of one attribute."""
MOST_ATTRIBUTES = 64
_SEPARATOR = " "


@dataclass(slots=True)
class Element:
    """``space`` is the namespace's URI, empty for none; attributes are by their local names: no two of the formats
    read here differ in the namespace alone."""

    space: str
    name: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, name: str) -> Iterator[Element]:
        """Children of that local name."""
        return (each for each in self.children if each.name == name)

    def one(self, name: str) -> Element | None:
        return next(self.all(name), None)

    def words(self, name: str) -> str:
        """The text of the child called ``name``, without the blanks around it; empty if there is none."""
        child = self.one(name)
        return "" if child is None else child.text.strip()

    def attribute(self, name: str) -> str:
        return self.attributes.get(name, "")


class _Reader:
    def __init__(self, what: str) -> None:
        self.root: Element | None = None
        self._what = what
        self._open: list[Element] = []
        self._count = 0
        self._texts: list[list[str]] = []
        self._length = 0
        parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.buffer_text = True
        self.parser = parser

    def _doctype(self, *_: object) -> None:
        raise BadInput(
            f"{self._what} declares a document type, which is refused: it could make it endlessly large"
        )

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > MOST_ELEMENTS or len(self._open) >= MOST_DEPTH or len(attributes) > MOST_ATTRIBUTES:
            raise BadInput(f"{self._what} is too large or too deep to be true")
        if any(len(value) > MOST_TEXT for value in attributes.values()) or len(name) > MOST_TEXT:
            raise BadInput(f"{self._what} has an attribute of more than {MOST_TEXT} characters")
        space, _, local = name.rpartition(_SEPARATOR)
        element = Element(space, local, {key.rpartition(_SEPARATOR)[2]: each for key, each in attributes.items()})
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)
        self._texts.append([])
        self._length = 0

    def _end(self, name: str) -> None:
        self._open.pop().text = "".join(self._texts.pop())
        self._length = sum(map(len, self._texts[-1])) if self._texts else 0

    def _characters(self, text: str) -> None:
        self._length += len(text)
        if self._length > MOST_TEXT:
            raise BadInput(f"{self._what} has an element with more than {MOST_TEXT} characters")
        self._texts[-1].append(text)


def parse(text: bytes, what: str) -> Element:
    """The root of ``text``. ``BadInput`` says what is wrong with ``what``."""
    if len(text) > MOST_BYTES:
        raise BadInput(f"{what} has {len(text)} bytes; a description has at most {MOST_BYTES}")
    reader = _Reader(what)
    try:
        reader.parser.Parse(text, True)
    except expat.ExpatError as error:
        raise BadInput(f"{what} is not XML: {plain(error)}") from error
    except (UnicodeError, LookupError, ValueError) as error:
        raise BadInput(f"{what} is written in a way that can't be read: {plain(error)}") from error
    if reader.root is None:
        raise BadInput(f"{what} is empty")
    return reader.root
