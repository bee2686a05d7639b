"""Which CPU a guest gets, whether another host can give it the same, and what is the most that several hosts all
can: pure, and the same for the same question in whatever order it is asked.

Features have QEMU's names (``qemu-system-x86_64 -cpu help``). The levels ``x86-64-v1`` to ``x86-64-v4`` are
those of the x86-64 psABI (section "Micro-Architecture Levels"), which QEMU has no models for: they are made from
its smallest 64-bit one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wirt.model.cpu import CpuChoice, CpuModel, CpuOffer, GivenCpu, parse_choice
from wirt.model.errors import BadInput, ConfigError
from wirt.plan.host import Accelerator

HOST, MOST = "host", "max"
WHOLE = (HOST, MOST)
"""They are whatever a host has, and so another thing on another host."""
_LEVEL_BASE = "qemu64"
_LEVELS: Mapping[str, tuple[str, ...]] = {
    "x86-64-v1": (),
    "x86-64-v2": ("cx16", "lahf-lm", "pni", "popcnt", "sse4.1", "sse4.2", "ssse3"),
    "x86-64-v3": ("abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"),
    "x86-64-v4": ("avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"),
}
"""What each adds to the one before."""
_NESTED_NAMES = """
svm npt lbrv svm-lock nrip-save tsc-scale vmcb-clean flushbyasid decodeassists pause-filter pfthreshold avic
v-vmsave-vmload vgif svme-addr-chk vnmi vmx
"""
_NESTED = frozenset(_NESTED_NAMES.split())
"""A guest's own guests: what these features hold is not for every host, nor safely moved. No model gets them by
itself."""
_EMULATED_NAMES = """
3dnow 3dnowext abm acpi adx aes apic arat avx avx2 bmi1 bmi2 clflush clflushopt clwb cmov cr8legacy cx16 cx8 de
erms f16c fma fpu fsgsbase fxsr hypervisor la57 lahf-lm lm mca mce mmx mmxext monitor movbe mpx msr mtrr npt nx
pae pat pclmulqdq pdpe1gb pge pks pku pni popcnt pse pse36 rdrand rdtscp sep smap smep ss sse sse2 sse4.1 sse4.2
sse4a ssse3 svm svme-addr-chk syscall tsc umip vaes vgif xgetbv1 xsave xsaveopt
"""
EMULATED_EVERYWHERE = frozenset(_EMULATED_NAMES.split())
"""What QEMU emulates in each version from 7.2 to 10.0 (asked of both). A guest that is given these and no others
can move between them."""


@dataclass(frozen=True, slots=True)
class ChosenCpu:
    """``model`` as it was asked for, in words; ``argument`` what QEMU is told (``-cpu``). ``features``: what
    comes of it; empty where that is not known."""

    model: str
    argument: str
    features: frozenset[str] = frozenset()
    identity: str = ""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """``features`` are what all other hosts have and ``host`` lacks."""

    host: str
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Baseline:
    """``choice`` is what each of ``hosts`` can offer and no more than that; ``features`` all that it consists of.
    ``base``: the largest model with a name in it."""

    hosts: tuple[str, ...]
    choice: CpuChoice
    features: frozenset[str]
    base: str
    held_back: tuple[HeldBack, ...]
    vendors: tuple[str, ...] = ()
    """Of the CPUs below, where guests run on these: KVM moves none from one vendor's to another's."""


def choose(wish: str | None, accelerator: Accelerator, offer: CpuOffer | None) -> ChosenCpu:
    """The CPU of a guest that starts. Without a wish it is the host's own under KVM, and under emulation what
    every supported QEMU emulates. ``ConfigError`` if this host can't offer what is wished for."""
    if wish is None or wish in (HOST, MOST):
        return _whole(wish, accelerator, offer)
    try:
        choice = parse_choice(wish)
    except BadInput as error:
        raise ConfigError(error.message, key="cpu_model", hint=error.hint) from error
    if choice.name == HOST and accelerator is not Accelerator.KVM:
        raise _no_host()
    if offer is None:
        return ChosenCpu(wish, _argument(_qemu_name(choice.name), {*_added(choice.name), *choice.on}, choice.off))
    model = _model(offer, choice.name)
    if model is None:
        raise ConfigError(
            f"there is no CPU model {choice.name} here",
            key="cpu_model",
            hint="wirt cpu list shows all that there are",
        )
    features = (model.features | {*choice.on}) - {*choice.off}
    lacks = ({*model.missing} | features) - offer.features - {*choice.off}
    if lacks:
        raise ConfigError(
            f"this host can't offer {choice.name}: it lacks {words(lacks)}",
            key="cpu_model",
            hint="wirt cpu list shows what it can; or take these away, as in -" + sorted(lacks)[0],
        )
    added = {*_added(choice.name), *choice.on} - {*choice.off}
    taken = {*choice.off} | _taken(choice.name)
    argument = _argument(_qemu_name(choice.name), added, taken)
    return ChosenCpu(str(choice), argument, features, _identity(accelerator, offer))


def _identity(accelerator: Accelerator, offer: CpuOffer) -> str:
    return offer.identity if accelerator is Accelerator.KVM else ""


def _whole(wish: str | None, accelerator: Accelerator, offer: CpuOffer | None) -> ChosenCpu:
    if wish == HOST and accelerator is not Accelerator.KVM:
        raise _no_host()
    name = wish or (HOST if accelerator is Accelerator.KVM else MOST)
    if offer is None:
        return ChosenCpu(name, name)
    off = offer.features - EMULATED_EVERYWHERE if wish is None and name == MOST else frozenset()
    return ChosenCpu(name, _argument(name, (), off), offer.features - off, _identity(accelerator, offer))


def _no_host() -> ConfigError:
    return ConfigError(
        "only KVM can give a guest the host's own CPU", key="cpu_model", hint="max is all that can be emulated"
    )


def again(given: GivenCpu, offer: CpuOffer | None) -> ChosenCpu:
    """The very CPU that a guest has, on another host or in another QEMU. What is known not to be there is
    :func:`lacking`'s to say. ``BadInput`` if ``given`` makes no sense."""
    choice = parse_choice(given.model)
    if offer is None or not given.features:
        features = frozenset() if offer is None else given.features
        name = _qemu_name(choice.name)
        added = {*_added(choice.name), *choice.on} - {*choice.off}
        return ChosenCpu(given.model, _argument(name, added, {*choice.off} | _taken(choice.name)), features)
    model = _model(offer, choice.name)
    has = offer.features if model is None else model.features
    on, off = given.features - has, has - given.features
    name = _qemu_name(choice.name) if model is not None else MOST
    added, taken = {*_added(choice.name)} - off | on, _taken(choice.name) - on | off
    return ChosenCpu(given.model, _argument(name, added, taken), given.features, given.identity)


def lacking(given: GivenCpu, offer: CpuOffer) -> tuple[str, ...]:
    """The features of a guest that a host can't offer, by name."""
    return tuple(sorted(given.features - offer.features))


def knows_model(given: GivenCpu, offer: CpuOffer) -> bool:
    return _model(offer, parse_choice(given.model).name) is not None


def other_cpu(given: GivenCpu, offer: CpuOffer) -> bool:
    """Whether the guest would see another CPU than its own: one of another vendor, or, where it was given the
    host's own, of another kind."""
    if not given.identity:
        return False
    if parse_choice(given.model).name == HOST:
        return given.identity != offer.identity
    return given.identity.partition(" ")[0] != offer.vendor


def words(features: Iterable[str]) -> str:
    """For people: not all of many."""
    shown = sorted(features)
    more = f" and {len(shown) - 12} more" if len(shown) > 12 else ""
    return ", ".join(shown[:12]) + more


def baseline(offers: Mapping[str, CpuOffer]) -> Baseline:
    """The most that all of these hosts offer. ``BadInput`` if there are none, or they share no model."""
    if not offers:
        raise BadInput("there is no host to find a baseline of")
    hosts = tuple(sorted(offers))
    common = frozenset.intersection(*(offer.features for offer in offers.values()))
    shared = [model for model in named(offers[hosts[0]]) if _everywhere(model, offers)]
    if not shared:
        raise BadInput(f"{', '.join(hosts)} have no CPU model in common")
    best = max(shared, key=lambda model: (len(model.features), model.name))
    more = frozenset(each for each in common - best.features if not _left_out(each))
    choice = CpuChoice(best.name, tuple(sorted(more)))
    vendors = tuple(sorted({offer.vendor for offer in offers.values()}))
    return Baseline(hosts, choice, best.features | more, best.name, _held_back(offers), vendors)


def _everywhere(model: CpuModel, offers: Mapping[str, CpuOffer]) -> bool:
    return all(model in named(offer) for offer in offers.values())


def _held_back(offers: Mapping[str, CpuOffer]) -> tuple[HeldBack, ...]:
    if len(offers) < 2:
        return ()
    found = []
    for host in sorted(offers):
        others = frozenset.intersection(*(offer.features for name, offer in offers.items() if name != host))
        lacks = sorted(each for each in others - offers[host].features if not _left_out(each))
        if lacks:
            found.append(HeldBack(host, tuple(lacks)))
    return tuple(found)


def _left_out(feature: str) -> bool:
    """What a hypervisor adds by itself, or what is not for guests that move."""
    return feature in _NESTED or feature.startswith(("vmx-", "kvm", "hv-")) or feature == "hypervisor"


def named(offer: CpuOffer) -> tuple[CpuModel, ...]:
    """The models, levels included, that a host can offer whole, by name."""
    able = [each for each in offer.models if not each.missing and each.features <= offer.features]
    for name in _LEVELS:
        level = _model(offer, name)
        if level is not None and level.features <= offer.features:
            able.append(level)
    return tuple(sorted((each for each in able if each.name not in WHOLE), key=lambda model: model.name))


def _model(offer: CpuOffer, name: str) -> CpuModel | None:
    if name in WHOLE:
        return CpuModel(name, offer.features)
    if name not in _LEVELS:
        return offer.model(name)
    base = offer.model(_LEVEL_BASE)
    return None if base is None else CpuModel(name, (base.features - _NESTED) | {*_added(name)})


def _qemu_name(name: str) -> str:
    return _LEVEL_BASE if name in _LEVELS else name


def _added(name: str) -> tuple[str, ...]:
    """What a level has more than QEMU's smallest model."""
    if name not in _LEVELS:
        return ()
    steps = list(_LEVELS)
    return tuple(each for step in steps[: steps.index(name) + 1] for each in _LEVELS[step])


def _taken(name: str) -> set[str]:
    return {"svm"} if name in _LEVELS else set()


def _argument(name: str, on: Iterable[str], off: Iterable[str]) -> str:
    words = [f"{each}=on" for each in sorted(on)] + [f"{each}=off" for each in sorted(off)]
    return ",".join((name, *words))
