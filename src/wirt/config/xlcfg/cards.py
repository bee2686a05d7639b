"""The ``vif`` list of a text, with a card more or less: every other card stays as it was written, and keeps its
number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wirt.config.xlcfg.document import with_value
from wirt.config.xlcfg.overrides import COMMAND_LINE
from wirt.config.xlcfg.settings import Settings, settle
from wirt.config.xlcfg.spec import SpecError, parts
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


RATES = ("rate", "rate-in")


def with_rates(text: str, devid: int, rates: Mapping[str, str]) -> str:
    """``text`` in which the card number ``devid`` has these of :data:`RATES`; an empty one is taken away."""
    entries = vif_entries(text)
    numbers = devids([parse_vif(entry).vif for entry in entries])
    written = [
        _rated(entry, rates) if number == devid else entry for number, entry in zip(numbers, entries, strict=True)
    ]
    return with_value(text, "vif", written)


def _rated(entry: str, rates: Mapping[str, str]) -> str:
    kept = [part.text for part in parts(entry) if part.name not in rates]
    return ",".join((*kept, *(f"{name}={rate}" for name, rate in rates.items() if rate)))


def vif_entries(text: str) -> tuple[str, ...]:
    return Settings(settle(parse(text, file="<text>").assignments)).texts("vif")


def _numbered(entry: str, devid: int) -> str:
    if parse_vif(entry).vif.devid == devid:
        return entry
    return f"{entry},devid={devid}" if entry.strip() else f"devid={devid}"
