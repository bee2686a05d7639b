"""JSON objects to ``wirt.wire.v1``'s types, nested ones included, each field's type checked on the way.

A field that is missing or of another type is :class:`BadAnswer`, so that what formats an answer need not fear
it; fields that this version does not know are ignored.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from typing import Any, TypeVar

from wirt.client.errors import BadAnswer
from wirt.wire import v1

T = TypeVar("T")

_NONE = type(None)
_PLAIN: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "str | None": (str, _NONE),
    "int | None": (int, _NONE),
    "float | None": (float, int, _NONE),
    "dict[str, Any]": (dict,),
}


def decode(kind: type[T], data: object) -> T:
    """``data`` as a ``kind``, one of ``wirt.wire.v1``'s dataclasses."""
    if not isinstance(data, dict):
        raise BadAnswer(f"wirtd sent something else where a {kind.__name__} should be")
    values = dict(data)
    for spec in fields(kind):  # type: ignore[arg-type]
        if spec.name in values:
            values[spec.name] = _value(kind, spec.name, str(spec.type), values[spec.name])
    try:
        return v1.read(kind, values)
    except TypeError as error:
        raise BadAnswer(f"wirtd sent an incomplete {kind.__name__} ({error})") from None


def decode_list(kind: type[T], document: dict[str, Any], name: str) -> list[T]:
    """The list called ``name`` in ``document``, each of its items as a ``kind``."""
    items = document.get(name)
    if not isinstance(items, list):
        raise BadAnswer(f"wirtd's answer has no list of {name}")
    return [decode(kind, item) for item in items]


def _value(kind: type, name: str, annotation: str, value: Any) -> Any:
    """Other dataclasses among the fields are those of the module that ``kind`` is from, or of ``v1``."""
    where = f"{kind.__name__}.{name}"
    if annotation in _PLAIN:
        _check(where, value, _PLAIN[annotation])
        return value
    if annotation.startswith("list["):
        _check(where, value, (list,))
        inner = annotation[len("list[") : -1]
        return [_value(kind, name, inner, item) for item in value]
    if value is None and annotation.endswith(" | None"):
        return None
    inner = annotation.removesuffix(" | None")
    return decode(getattr(sys.modules[kind.__module__], inner, None) or getattr(v1, inner), value)


def _check(where: str, value: object, kinds: tuple[type, ...]) -> None:
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise BadAnswer(f"wirtd sent a {type(value).__name__} as {where}")
