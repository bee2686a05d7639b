"""What a guest's CPU can do: what a host can offer, what is chosen, what a run was given."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from wirt.model.errors import BadInput

MOST_FEATURES = 1000
"""QEMU 10 knows some 400 names."""
LONGEST_CHOICE = 8192
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_FEATURE = re.compile(r"[a-z0-9][a-z0-9._-]{0,47}\Z")


@dataclass(frozen=True, slots=True)
class CpuModel:
    """A model that the hypervisor has a name for. ``missing``: those of its features that this host can't
    offer."""

    name: str
    features: frozenset[str]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CpuOffer:
    """All that guests of one host can be given under its accelerator, in QEMU's names of features. ``vendor`` and
    ``identity`` (which begins with the vendor) are what a guest sees that is given this CPU as it is."""

    vendor: str
    identity: str
    features: frozenset[str]
    models: tuple[CpuModel, ...] = ()

    def model(self, name: str) -> CpuModel | None:
        return next((each for each in self.models if each.name == name), None)


@dataclass(frozen=True, slots=True)
class CpuChoice:
    """``cpu_model=``: a model, or ``host`` or ``max``, with features that it gets or does not get besides."""

    name: str
    on: tuple[str, ...] = ()
    off: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ",".join((self.name, *(f"+{each}" for each in self.on), *(f"-{each}" for each in self.off)))


@dataclass(frozen=True, slots=True)
class GivenCpu:
    """What a run was really given. ``model`` is the choice that it came from, as text; ``identity`` is the CPU
    below it, empty under emulation. Without features it is not known what that was."""

    model: str
    features: frozenset[str] = field(default_factory=frozenset)
    identity: str = ""


def parse_choice(text: str) -> CpuChoice:
    """``NAME[,+FEATURE|,-FEATURE]...``. ``BadInput``; whether a host has such a CPU is another question."""
    name, *flags = text.strip().split(",")
    if len(text) > LONGEST_CHOICE or len(flags) > MOST_FEATURES or not _NAME.match(name):
        raise BadInput(f"{text[:80]!r} is no CPU model", hint="as in x86-64-v2 or Nehalem,+aes,-x2apic")
    on: list[str] = []
    off: list[str] = []
    for flag in flags:
        sign, feature = flag[:1], flag[1:]
        if sign not in ("+", "-") or not is_feature(feature):
            raise BadInput(f"{flag[:80]!r} is no feature to add or to take away", hint="as in +aes or -x2apic")
        if feature in on or feature in off:
            raise BadInput(f"feature {feature} is named twice", hint="name it once")
        (on if sign == "+" else off).append(feature)
    return CpuChoice(name, tuple(sorted(on)), tuple(sorted(off)))


def is_feature(word: str) -> bool:
    """Whether ``word`` can be a feature's name."""
    return _FEATURE.match(word) is not None
