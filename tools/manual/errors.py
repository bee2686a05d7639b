"""The errors: their codes, from the modules that define them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, cast

from tools.manual.blocks import Block, Heading, Table

from wirt.api import problems
from wirt.client import errors as client_errors
from wirt.model import errors

OTHER_CODES = (
    ("bad-request", "422", "the request is no request of this API: a field is missing, a route is unknown (404)"),
    ("internal", "500", "a fault in wirt: wirtd's log says more"),
    ("fault", "", "a fault in the command `wirt`: `WIRT_DEBUG=1` shows where it happened"),
)
IN_OTHER_WORDS = {
    "config-error": "the request is wrong at a known place: file, line, column, key",
    "name-in-use": "another domain has this name",
    "daemon-unreachable": "no wirtd answers, and none could be started",
    "store-closed": "the store has been closed: wirtd is ending",
    "image-build-failed": "an image could not be built",
    "disconnected": "wirtd stopped in the middle of an answer: it may have been restarted",
}
"""Where a module's drawn tree has no sentence, or only half of one."""


def errors_page() -> Iterator[Block]:
    yield (
        "Every error has a code that stays the same, a message for people, and often a hint. `-o json` prints "
        "them as `error`; the API answers with `code`, `title` and `hint`."
    )
    yield Heading(2, "From wirtd")
    yield Table(("code", "HTTP status", "meaning"), tuple(_codes(errors, errors.WirtError, _status)))
    yield Heading(2, "From the command")
    yield Table(
        ("code", "meaning"),
        tuple((code, text) for code, _, text in _codes(client_errors, client_errors.ClientError, lambda _: "")),
    )
    yield Heading(2, "Others")
    yield Table(("code", "HTTP status", "meaning"), tuple((f"`{c}`", s, text) for c, s, text in OTHER_CODES))


def _status(kind: type[Exception]) -> str:
    return str(problems.status_of(cast(Any, kind.__new__(kind))))


def _codes(
    module: ModuleType, base: type[Exception], status: Callable[[type[Exception]], str]
) -> Iterator[tuple[str, str, str]]:
    """One row for each class below ``base`` with a code of its own."""
    told = _tree(inspect.getdoc(module) or "")
    for kind in vars(module).values():
        if isinstance(kind, type) and issubclass(kind, base) and kind is not base and "code" in vars(kind):
            code = str(vars(kind)["code"])
            text = IN_OTHER_WORDS.get(code) or told.get(kind.__name__) or (kind.__doc__ or "").split("\n")[0]
            yield f"`{code}`", status(kind), text


def _tree(text: str) -> dict[str, str]:
    """The meanings in a module's drawn tree: class name to sentence, without the exit codes in brackets."""
    found = re.findall(r"^[ |`]*[|`]-- (\w+) +(\S.*)$", text, re.MULTILINE)
    return {name: re.sub(r" \((CLI|HTTP|\d)[^)]*\)$", "", said) for name, said in found}
