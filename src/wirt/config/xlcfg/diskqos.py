"""The words of a disk's entry that limit it: ``iops=100``, ``iops-burst=500``, ``bps=10M``, ``burst-seconds=5``,
``qos-group=db``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from wirt.model.diskqos import UNLIMITED, DiskQos, Measure, changed, check
from wirt.model.errors import BadInput

BURST = "-burst"
SECONDS, GROUP = "burst-seconds", "qos-group"
WORDS = (*(str(each) for each in Measure), *(f"{each}{BURST}" for each in Measure), SECONDS, GROUP)
_NUMBER = re.compile("([0-9]{1,15})([KMG]?)")
_FACTORS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_GROUP = re.compile("[A-Za-z0-9_-]{1,32}")


def with_words(qos: DiskQos, words: Mapping[str, str]) -> DiskQos:
    """``qos`` as ``words`` (of :data:`WORDS`) change it; 0 takes a limit away, an empty ``qos-group`` the group.
    ``BadInput`` says which values can be."""
    unknown = next((word for word in words if word not in WORDS), None)
    if unknown is not None:
        raise BadInput(f"{unknown} is no limit of a disk", hint=f"there are {', '.join(WORDS)}")
    numbers = {each: _number(each, words[each], each) for each in Measure if each in words}
    bursts = {
        each: _number(f"{each}{BURST}", words[f"{each}{BURST}"], each)
        for each in Measure
        if f"{each}{BURST}" in words
    }
    group, seconds = qos.group, qos.burst_s
    if GROUP in words:
        group = words[GROUP] or None
        if group is not None and not _GROUP.fullmatch(group):
            raise BadInput(f"{group!a} is no name of a group", hint="1 to 32 letters, digits, - and _")
    if SECONDS in words:
        if not re.fullmatch("[0-9]{1,9}", words[SECONDS]):
            raise BadInput(f"{SECONDS} is a number of seconds, not {words[SECONDS] or 'empty'}")
        seconds = int(words[SECONDS])
    after = changed(DiskQos(qos.limits, seconds, group), numbers, bursts)
    check(after)
    return after


def read_words(words: Mapping[str, str]) -> DiskQos:
    return with_words(UNLIMITED, words)


def words_of(qos: DiskQos) -> dict[str, str]:
    """What :func:`read_words` makes ``qos`` of."""
    words = {}
    for limit in qos.limits:
        words[str(limit.measure)] = str(limit.per_s)
        if limit.burst is not None:
            words[f"{limit.measure}{BURST}"] = str(limit.burst)
    if qos.burst_s != UNLIMITED.burst_s:
        words[SECONDS] = str(qos.burst_s)
    if qos.group is not None:
        words[GROUP] = qos.group
    return words


def _number(what: str, text: str, measure: Measure) -> int:
    match = _NUMBER.fullmatch(text)
    if match is None or (match[2] and not measure.counts_bytes):
        like = "as in 10M, or 0 for none" if measure.counts_bytes else "as in 100, or 0 for none"
        raise BadInput(
            f"{what} is a number from {measure.least} to {measure.most}, not {text or 'empty'}", hint=like
        )
    return int(match[1]) * _FACTORS[match[2]]
