"""What keys, values and transactions can be: the limits that all stores promise (see ``ports.store``)."""

from __future__ import annotations

from collections.abc import Sequence

from wirt.model.errors import BadInput
from wirt.ports.store import Compare, Delete, Put

MAX_KEY_BYTES = 512
MAX_VALUE_BYTES = 1 << 20
MAX_OPERATIONS = 128
"""etcd's ``--max-txn-ops``: it counts comparisons and writes apart."""
MIN_TTL_S = 2
MAX_TTL_S = 9_000_000_000
"""etcd's ``MaxLeaseTTL``."""


def check_key(key: str) -> None:
    """``BadInput`` unless ``key`` is one that every store can hold."""
    _check_text("key", key)
    parts = key.split("/")
    if "" in parts:
        raise BadInput(f"the store key {key!r} has an empty part", hint="separate parts by one / each")
    if ".." in parts:
        raise BadInput(f"the store key {key!r} has a part '..'")


def check_prefix(prefix: str) -> None:
    """``BadInput`` unless some key can start with ``prefix``."""
    _check_text("prefix", prefix)
    complete_parts = prefix.split("/")[:-1]
    if "" in complete_parts or ".." in complete_parts:
        raise BadInput(f"no store key can start with {prefix!r}", hint="keys have no leading /, no // and no '..'")


def check_transaction(writes: Sequence[Put | Delete], when: Sequence[Compare]) -> None:
    """``BadInput`` for what is wrong with a transaction whatever the store holds."""
    for what, count in (("writes", len(writes)), ("comparisons", len(when))):
        if count > MAX_OPERATIONS:
            raise BadInput(f"a transaction has {count} {what}, at most {MAX_OPERATIONS} are possible")
    for comparison in when:
        check_key(comparison.key)
    written: set[str] = set()
    room = MAX_VALUE_BYTES
    for write in writes:
        check_key(write.key)
        if write.key in written:
            raise BadInput(f"a transaction writes the store key {write.key!r} more than once")
        written.add(write.key)
        if isinstance(write, Put):
            room -= _checked_size(write)
    if room < 0:
        raise BadInput(
            f"a transaction's values have {MAX_VALUE_BYTES - room} bytes, at most {MAX_VALUE_BYTES} are possible"
        )


def check_ttl(ttl_s: int) -> None:
    """``BadInput`` unless a lease can live for ``ttl_s`` seconds."""
    if not isinstance(ttl_s, int) or not MIN_TTL_S <= ttl_s <= MAX_TTL_S:
        raise BadInput(f"a lease can't live for {ttl_s!r} seconds", hint=f"whole seconds, at least {MIN_TTL_S}")


def _checked_size(put: Put) -> int:
    # A bytearray would do for SQLite, and could be changed afterwards behind the memory store's back.
    if not isinstance(put.value, bytes):
        raise BadInput(f"the value for the store key {put.key!r} is not bytes")
    return len(put.value)


def _check_text(what: str, text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise BadInput(f"the store {what} {text!r} is not Unicode text") from error
    if size > MAX_KEY_BYTES:
        raise BadInput(f"the store {what} {text[:40]!r}... has {size} bytes, at most {MAX_KEY_BYTES} are possible")
    if any(character < " " or character == "\x7f" for character in text):
        raise BadInput(f"the store {what} {text!r} has a control character")
