"""The words that a class of service is defined with: ``weight=512``, ``iops=500``, ``rate=100Mb/s`` ...; also how
the store and the API write one down. Those of disks are those of a disk's entry, those of cards those of a vif's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from wirt.config.xlcfg import diskqos
from wirt.config.xlcfg.keys import KEYS
from wirt.config.xlcfg.rate import parse_rate, rate_text
from wirt.config.xlcfg.spec import SpecError
from wirt.model.devices import Rate
from wirt.model.errors import BadInput
from wirt.model.qos import NAME_HINT, QosClass, name_fault

WEIGHT, CAP, GUARANTEE = "weight", "cap", "memory-guarantee"
DISK_WEIGHT, NETWORK_WEIGHT = "disk-weight", "network-weight"
RATE, RATE_IN = "rate", "rate-in"
DISK_WORDS = tuple(word for word in diskqos.WORDS if word != diskqos.GROUP)
WORDS = (WEIGHT, CAP, GUARANTEE, DISK_WEIGHT, NETWORK_WEIGHT, *DISK_WORDS, RATE, RATE_IN)
AWAY = ("", "none")
"""What takes a word away, whichever it is."""
MOST_CAP = 100 * (KEYS["vcpus"].high or 1)
_KEYS = {
    WEIGHT: "cpu_weight",
    GUARANTEE: "memory_guarantee",
    DISK_WEIGHT: "disk_weight",
    NETWORK_WEIGHT: "network_weight",
}
"""The key of xl.cfg whose range a word has."""


def read_class(name: str, words: Mapping[str, str]) -> QosClass:
    """``BadInput`` says which word is wrong, and what can be."""
    fault = name_fault(name)
    if fault is not None:
        raise BadInput(fault, hint=NAME_HINT)
    unknown = next((word for word in words if word not in WORDS), None)
    if unknown is not None:
        raise BadInput(f"a class has no {unknown[:40]!a}", hint=f"it has {', '.join(WORDS)}")
    kept = {word: text for word, text in words.items() if text not in AWAY}
    return QosClass(
        name=name,
        weight=_number(kept, WEIGHT, *_range(WEIGHT)),
        cap=_number(kept, CAP, 0, MOST_CAP),
        disk_weight=_number(kept, DISK_WEIGHT, *_range(DISK_WEIGHT)),
        network_weight=_number(kept, NETWORK_WEIGHT, *_range(NETWORK_WEIGHT)),
        disk=diskqos.read_words({word: text for word, text in kept.items() if word in DISK_WORDS}),
        rate=_rate(kept, RATE),
        rate_in=_rate(kept, RATE_IN),
        guarantee_mib=_number(kept, GUARANTEE, *_range(GUARANTEE)),
    )


def words_of(qos: QosClass) -> dict[str, str]:
    """What :func:`read_class` makes ``qos`` of, in the order of :data:`WORDS`."""
    rates = {RATE: qos.rate, RATE_IN: qos.rate_in}
    numbers = {
        WEIGHT: qos.weight,
        CAP: qos.cap,
        GUARANTEE: qos.guarantee_mib,
        DISK_WEIGHT: qos.disk_weight,
        NETWORK_WEIGHT: qos.network_weight,
    }
    found = {word: str(number) for word, number in numbers.items() if number is not None}
    found |= diskqos.words_of(qos.disk)
    found |= {word: rate_text(rate) for word, rate in rates.items() if rate is not None}
    return {word: found[word] for word in WORDS if word in found}


def with_words(qos: QosClass, words: Mapping[str, str]) -> QosClass:
    """``qos`` with other words; an empty one, or ``none``, takes that away."""
    merged = {**words_of(qos), **words}
    for measure in [word for word, text in words.items() if text in AWAY]:
        merged.pop(measure + diskqos.BURST, None)  # a burst of nothing
    return read_class(qos.name, merged)


def _range(word: str) -> tuple[int, int]:
    row = KEYS[_KEYS[word]]
    assert row.low is not None and row.high is not None
    return row.low, row.high


def _number(words: Mapping[str, str], word: str, low: int, high: int) -> int | None:
    text = words.get(word)
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,18}", text) or not low <= int(text) <= high:
        raise BadInput(f"{word} is a number from {low} to {high}, not {text[:40]!a}", hint="or none, for no such")
    return int(text)


def _rate(words: Mapping[str, str], word: str) -> Rate | None:
    if word not in words:
        return None
    try:
        return parse_rate(words[word], 0)
    except SpecError as error:
        raise BadInput(f"{word}: {error.message}", hint=error.hint) from error
