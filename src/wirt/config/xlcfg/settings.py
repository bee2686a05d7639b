"""What a document's assignments come to, key by key, and typed access to it.

A later ``=`` overrules an earlier one; ``+=`` appends to what is there, string to string or list to list, and
with nothing there it is ``=``. Every value is checked against its row in the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from wirt.config.xlcfg.keys import Key, Kind
from wirt.config.xlcfg.syntax import Assignment, Items, Text, Value
from wirt.model.errors import ConfigError

_INTEGER = re.compile(r"[ \t\n\v\f\r]*(?P<sign>[+-]?)(?P<digits>0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_LONG_MIN, _LONG_MAX = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class Setting:
    """The value of ``key`` in the end. ``chain`` is the last ``=`` and the ``+=`` after it; ``overruled`` the
    last assignment before those."""

    key: str
    value: Value
    chain: tuple[Assignment, ...]
    overruled: Assignment | None

    @property
    def appended(self) -> bool:
        return self.chain[-1].added

    def error(
        self, message: str, *, hint: str | None = None, at: Text | None = None, index: int = 0
    ) -> ConfigError:
        """A complaint about the value, or about character ``index`` of the string ``at`` in it."""
        source = self.value.source if at is None else at.source
        offset = self.value.start if at is None else at.offset(index)
        return source.error(offset, message, key=self.key, hint=hint)


class _Growing:
    """One key's value while assignments go by; joined once at the end, so that many ``+=`` stay cheap."""

    __slots__ = ("chain", "overruled")

    def __init__(self) -> None:
        self.chain: list[Assignment] = []
        self.overruled: Assignment | None = None

    def add(self, assignment: Assignment) -> None:
        if not assignment.added:
            self.overruled = self.chain[-1] if self.chain else self.overruled
            self.chain = [assignment]
            return
        if self.chain and isinstance(self.chain[0].value, Items) is not isinstance(assignment.value, Items):
            before = "list" if isinstance(self.chain[0].value, Items) else "string"
            message = f"+= appends to a {before} only another {before}"
            raise assignment.source.error(assignment.value.start, message, key=assignment.key)
        self.chain.append(assignment)

    def setting(self) -> Setting:
        value = self.chain[0].value if len(self.chain) == 1 else self._joined()
        return Setting(self.chain[0].key, value, tuple(self.chain), self.overruled)

    def _joined(self) -> Value:
        values = [each.value for each in self.chain]
        last = values[-1]
        if isinstance(last, Items):
            items = tuple(item for value in values if isinstance(value, Items) for item in value.items)
            return Items(items, last.source, last.start, last.end)
        text = "".join(value.value for value in values if isinstance(value, Text))
        return Text(text, last.source, last.start, last.end, literal=False)


def settle(assignments: Iterable[Assignment]) -> dict[str, Setting]:
    """Each key's value in the end, in the order in which the keys first appear."""
    growing: dict[str, _Growing] = {}
    for assignment in assignments:
        growing.setdefault(assignment.key, _Growing()).add(assignment)
    return {key: each.setting() for key, each in growing.items()}


def integer(text: str) -> int | None:
    """A number as C's ``strtol`` reads it in base 0: decimal, octal after ``0``, hexadecimal after ``0x``."""
    match = _INTEGER.fullmatch(text)
    if match is None or len(text) > 40:
        return None
    digits = match["digits"]
    base = 10 if digits[0] != "0" else 16 if digits[1:2] in ("x", "X") else 8
    number = int(digits, base)
    if match["sign"] == "-":
        number = -number
    return number if _LONG_MIN <= number <= _LONG_MAX else None


def check(setting: Setting, row: Key) -> None:
    """Raises :class:`ConfigError` if the value can't be one of ``row``'s."""
    if isinstance(setting.value, Items):
        _check_list(setting, row, setting.value)
    elif not ({Kind.STRING, Kind.NUMBER, Kind.BOOLEAN} & set(row.kinds)):
        raise setting.error(f"expected a {row.type}, not a single value", hint=f'write {row.name} = ["..."]')
    elif not _fits_number(setting, row, setting.value):
        _check_text(setting, row, setting.value)


def _fits_number(setting: Setting, row: Key, text: Text) -> bool:
    """Whether ``text`` is a number that ``row`` takes; raises if it is one that ``row`` does not take."""
    if Kind.NUMBER not in row.kinds and Kind.BOOLEAN not in row.kinds:
        return False
    number = integer(text.value)
    if number is None:
        return False
    if setting.appended:
        raise setting.error("+= can't be used with numbers")
    low, high = row.low, row.high
    if (low is not None and number < low) or (high is not None and number > high):
        if low is None or high is None:
            bounds = f"at least {low}" if high is None else f"at most {high}"
        else:
            bounds = f"from {low} to {high}"
        raise setting.error(f"{number} is out of range: expected a number {bounds}")
    return True


def _check_text(setting: Setting, row: Key, text: Text) -> None:
    if Kind.STRING not in row.kinds:
        raise setting.error(f"expected a {row.type}, not {shown(text.value)}", hint=_number_hint(text.value))
    if row.choices and text.value not in row.choices:
        raise setting.error(f"expected one of {', '.join(row.choices)}, not {shown(text.value)}")


def _check_list(setting: Setting, row: Key, items: Items) -> None:
    nested = Kind.NESTED in row.kinds
    if not nested and Kind.STRINGS not in row.kinds:
        raise setting.error(f"expected a {row.type}, not a list")
    for item in items.items:
        if isinstance(item, Items) is not nested:
            what = "a list" if nested else "a string"
            raise item.source.error(item.start, f"expected {what} as an item of the list", key=row.name)
        if isinstance(item, Text) and row.choices and item.value not in row.choices:
            message = f"expected one of {', '.join(row.choices)}, not {shown(item.value)}"
            raise setting.error(message, at=item)


def _number_hint(text: str) -> str | None:
    if re.fullmatch(r"[0-9]+\s*[kKmMgG]i?[bB]?", text):
        return "numbers have no unit"
    return "write 1 or 0" if text.lower() in ("true", "false", "yes", "no", "on", "off") else None


def shown(text: str) -> str:
    """``text`` for a message: quoted, printable, not too long."""
    return ascii(text if len(text) <= 40 else text[:37] + "...")


class Settings:
    """Typed access to values that have been checked."""

    def __init__(self, settings: dict[str, Setting]) -> None:
        self._settings = settings

    def __contains__(self, key: str) -> bool:
        return key in self._settings

    def get(self, key: str) -> Setting | None:
        return self._settings.get(key)

    def text_node(self, key: str) -> Text | None:
        setting = self._settings.get(key)
        return setting.value if setting and isinstance(setting.value, Text) else None

    def text(self, key: str) -> str | None:
        node = self.text_node(key)
        return node.value if node else None

    def number(self, key: str) -> int | None:
        node = self.text_node(key)
        return integer(node.value) if node else None

    def nodes(self, key: str) -> tuple[Text, ...]:
        """The strings of a list; a single string counts as a list of one."""
        setting = self._settings.get(key)
        if setting is None:
            return ()
        if isinstance(setting.value, Text):
            return (setting.value,)
        return tuple(item for item in setting.value.items if isinstance(item, Text))

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(node.value for node in self.nodes(key))
