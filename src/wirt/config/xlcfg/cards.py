"""The ``vif`` list of a text, with a card more or less: every other card stays as it was written, and keeps its
number."""

from __future__ import annotations

from collections.abc import Sequence

from wirt.config.xlcfg.document import with_value
from wirt.config.xlcfg.overrides import COMMAND_LINE
from wirt.config.xlcfg.settings import Settings, settle
from wirt.config.xlcfg.spec import SpecError
from wirt.config.xlcfg.syntax import Source, parse
from wirt.config.xlcfg.vif import parse_vif
from wirt.model.devices import VifSpec, devids


def read_card(words: Sequence[str]) -> tuple[str, VifSpec]:
    """``network-attach``'s words (``bridge=br0 mac=...``) as an entry of ``vif``, and what it means. Raises
    :class:`ConfigError` with its place on the command line."""
    entry = ",".join(words)
    try:
        return entry, parse_vif(entry).vif
    except SpecError as error:
        source = Source(COMMAND_LINE, " ".join(words))
        raise source.error(error.offset, error.message, key="vif", hint=error.hint) from None


def with_card(text: str, entry: str, devid: int) -> str:
    """``text`` with the card ``entry`` as number ``devid``."""
    return with_value(text, "vif", [*vif_entries(text), _numbered(entry, devid)])


def without_card(text: str, devid: int) -> str:
    """``text`` without the card number ``devid``. Those left say their number, where they no longer have it by
    their place in the list."""
    entries = vif_entries(text)
    numbers = devids([parse_vif(entry).vif for entry in entries])
    left = [(number, entry) for number, entry in zip(numbers, entries, strict=True) if number != devid]
    kept = [entry for _, entry in left]
    if devids([parse_vif(entry).vif for entry in kept]) != tuple(number for number, _ in left):
        kept = [_numbered(entry, number) for number, entry in left]
    return with_value(text, "vif", kept or None)


def vif_entries(text: str) -> tuple[str, ...]:
    return Settings(settle(parse(text, file="<text>").assignments)).texts("vif")


def _numbered(entry: str, devid: int) -> str:
    if parse_vif(entry).vif.devid == devid:
        return entry
    return f"{entry},devid={devid}" if entry.strip() else f"devid={devid}"
