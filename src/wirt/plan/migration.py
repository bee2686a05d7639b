"""Whether a domain can go to another host, and what that will take: pure, from what both sides tell."""

from __future__ import annotations

from dataclasses import dataclass

from wirt.model.cpu import CpuOffer, GivenCpu
from wirt.model.domain import Domain
from wirt.model.migration import Forecast, Remark, Way
from wirt.model.snapshots import SnapshotTree
from wirt.model.units import MIB
from wirt.plan.cpu import knows_model, lacking, other_cpu, words
from wirt.plan.launch import KEPT_EVERY_PAGE_SINCE

BASELINE = "wirt cpu baseline HOST... finds a CPU that all have; started anew with that, it moves"
GUESSED_LINK = 100 * MIB
"""Bytes a second, until it has been seen what a link does."""
MOST_ROUNDS = 30
OVERHEAD = 1.03
"""What headers and the like add to memory that is sent."""
SET_UP_S = 0.3
"""The other side's QEMU, and the words between the hosts (measured: 0.2 to 0.4 s)."""
SWITCH_S = 0.03
"""Of the blackout what no link makes shorter: the device state, and two hypervisors (measured: 16 to 35 ms)."""


@dataclass(frozen=True, slots=True)
class Side:
    """What one host has for a guest."""

    host: str
    version: tuple[int, ...]
    accelerator: str
    machine: str
    given: GivenCpu
    """Of the source: what the guest has."""
    cpu: CpuOffer | None = None
    """Of the target: what it could be given."""
    padding_kib: int = 0


def leaving(domain: Domain, tree: SnapshotTree, *, user_cards: int) -> tuple[Remark, ...]:
    """What of ``domain`` keeps it here, or does not come along."""
    remarks = []
    if tree.snapshots:
        remarks.append(
            Remark(
                True,
                f"domain {domain.name} has snapshots, which would stay behind",
                f"wirt snapshot delete {domain.name} NAME, for each that wirt snapshot list {domain.name} shows",
            )
        )
    if domain.saved is not None:
        remarks.append(
            Remark(
                True,
                f"domain {domain.name} is saved in {domain.saved}, which would stay behind",
                f"wirt restore {domain.saved} on the other host, or wirt start --discard-saved {domain.name}",
            )
        )
    if domain.config.device_model_args:
        remarks.append(
            Remark(
                False,
                f"domain {domain.name} has arguments of its own for QEMU, which nobody checks on the target",
                "see that what they name is there",
            )
        )
    if user_cards:
        remarks.append(
            Remark(
                False,
                f"{user_cards} user-mode card(s): open connections through them break, and the address that "
                "forwarded ports have is the new host's",
                "a card on a bridge keeps them",
            )
        )
    return tuple(remarks)


def between(source: Side, target: Side) -> tuple[Remark, ...]:
    """What the two hosts' hypervisors have to say to each other."""
    remarks = []
    if source.accelerator != target.accelerator:
        remarks.append(
            Remark(
                True,
                f"the guest runs under {source.accelerator} on {source.host}, and {target.host} has "
                f"{target.accelerator}: one can't go on with the other's CPU state",
                "shut the domain down and start it there, or see with wirt info why there is no KVM",
            )
        )
    if source.machine != target.machine:
        remarks.append(
            Remark(
                True,
                f"the guest has the machine {source.machine}, and {target.host} would give it {target.machine}",
                "start the domain anew, with the same wirt on both hosts",
            )
        )
    if target.version[:1] < source.version[:1]:
        remarks.append(
            Remark(
                False,
                f"{target.host} has an older QEMU ({_dotted(target.version)}, here {_dotted(source.version)})",
                f"it works with machine {source.machine}; the same version on both is what is tested most",
            )
        )
    if not target.padding_kib and not keeps_every_page(target.version, target.accelerator):
        remarks.append(
            Remark(
                False,
                f"from the QEMU of {target.host} ({_dotted(target.version)}) an emulated guest that began in a "
                "newer one can be moved on only while it is paused",
                f"QEMU 9.0 or newer on {target.host}",
            )
        )
    if source.accelerator == target.accelerator and source.given.features and target.cpu is not None:
        remarks += _cpus(source, target.host, target.cpu)
    elif source.accelerator == target.accelerator:
        what = f"what CPU the guest was given on {source.host}, or what {target.host} has, is not known"
        remarks.append(Remark(False, f"{what}: a feature that it uses may be gone there", BASELINE))
    return tuple(remarks)


def _cpus(source: Side, host: str, offer: CpuOffer) -> list[Remark]:
    """A guest that has found a feature uses it, and dies of its absence: none may be missing."""
    given, remarks = source.given, []
    lacks = lacking(given, offer)
    if lacks:
        remarks.append(
            Remark(True, f"the guest's CPU ({given.model}) has what {host} lacks: {words(lacks)}", BASELINE)
        )
    if not knows_model(given, offer):
        remarks.append(Remark(True, f"{host} has no CPU model {given.model}", BASELINE))
    if other_cpu(given, offer):
        what = f"the guest was given the CPU of {source.host} ({given.identity}), and {host} has another"
        remarks.append(Remark(True, f"{what} ({offer.identity})", BASELINE))
    return remarks


def forecast(
    memory_bytes: int,
    dirty_bytes_per_s: int | None,
    link_bytes_per_s: int | None,
    max_downtime_s: float,
    *,
    paused: bool = False,
    postcopy: bool = False,
) -> Forecast:
    """Rounds of pre-copy: what was dirtied during one is sent in the next, until the rest can go within
    ``max_downtime_s``; with a guest that dirties faster than the link carries, that never comes by itself."""
    link = link_bytes_per_s or GUESSED_LINK
    dirty = dirty_bytes_per_s or 0
    to_send = memory_bytes * OVERHEAD
    if paused:
        took = to_send / link
        why = "the guest is paused, and nothing changes meanwhile"
        return Forecast(Way.STOPPED, took + SET_UP_S, int(to_send), 0.0, 1, 0, link_bytes_per_s, why)
    total, sent, rounds, rest = 0.0, 0.0, 0, to_send
    while rounds < MOST_ROUNDS and (rest / link > max_downtime_s or rounds == 0):
        took = rest / link
        total, sent, rounds = total + took, sent + rest, rounds + 1
        rest = min(float(memory_bytes), dirty * took)
        if dirty >= link:
            break
    if rest / link <= max_downtime_s:
        why = f"what the guest changes ({_rate(dirty)}) is less than what the link carries ({_rate(link)})"
        blackout = SWITCH_S + rest / link
        return Forecast(
            Way.PRECOPY,
            total + blackout + SET_UP_S,
            int(sent + rest),
            blackout,
            rounds,
            dirty,
            link_bytes_per_s,
            why,
        )
    why = f"the guest changes {_rate(dirty)}, the link carries {_rate(link)}: copying alone would never end"
    if postcopy:
        took = 2 * to_send / link
        return Forecast(Way.POSTCOPY, took + SET_UP_S, int(2 * to_send), SWITCH_S, 1, dirty, link_bytes_per_s, why)
    # Slowed down step by step until the link keeps up; each step takes about two rounds (QEMU, auto-converge).
    steps = max(1, round(10 * (1 - 0.5 * link / max(dirty, 1))))
    took = steps * 2 * to_send / link
    return Forecast(
        Way.CONVERGING, took + SET_UP_S, int(took * link), max_downtime_s, 2 * steps, dirty, link_bytes_per_s, why
    )


def forecast_offline(runs: bool) -> Forecast:
    """Of the disks, if any come along, nothing is said: how much of them is empty is not known."""
    why = "it is shut down, and started there" if runs else "it is off"
    return Forecast(Way.OFFLINE, SET_UP_S, 0, 0.0, 0, None, None, why)


def keeps_every_page(version: tuple[int, ...], accelerator: str) -> bool:
    """Whether this QEMU by itself sends each page that changed."""
    return accelerator != "tcg" or version >= KEPT_EVERY_PAGE_SINCE


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _rate(bytes_per_s: float) -> str:
    return f"{bytes_per_s / MIB:.1f} MiB/s"
