"""``wirt audit``: what a running domain can reach, beside what it should. Pure; the eyes are
:class:`wirt.ports.audit.Observer`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from wirt.model.devices import VifKind
from wirt.plan import audit_files, audit_rights
from wirt.plan.findings import Finding, Verdict, few, judged, unseen, worst
from wirt.plan.observed import HomeFile, Observed, Planned

PUBLIC = ("images", "cache")
"""Parts of the home that hold nothing of a guest's: what wirt itself built or found out."""


@dataclass(frozen=True, slots=True)
class Card:
    """One of the domain's cards as it was plugged in. ``forwards`` are (protocol, port of the host)."""

    index: int
    kind: VifKind
    tap: str | None = None
    bridge: str | None = None
    groups: tuple[str, ...] = ()
    antispoof: bool = True
    forwards: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class CardSeen:
    """``bridge`` ``None``: in none. ``amiss``: what is wrong with its rules, a sentence each."""

    tap: str
    bridge: str | None
    up: bool
    amiss: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cards:
    """``unseen`` says why ``seen`` is empty when it could not be looked at."""

    planned: tuple[Card, ...] = ()
    seen: tuple[CardSeen, ...] = ()
    unseen: str | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    findings: tuple[Finding, ...]
    jailed: bool = True

    @property
    def verdict(self) -> Verdict:
        return worst(self.findings)

    @property
    def sentence(self) -> str:
        if self.verdict is Verdict.WIDER and not self.jailed:
            return "wider than a jail: it runs without one"
        return {
            Verdict.OK: "as it should be",
            Verdict.WEAKER: "as planned, which is weaker than a jail can be",
            Verdict.UNKNOWN: "as it should be, as far as could be seen",
            Verdict.WIDER: "wider than it should be",
        }[self.verdict]


def audit(planned: Planned, seen: Observed, cards: Cards) -> Audit:
    found = (
        *audit_rights.process(planned, seen),
        *audit_rights.rights(planned, seen),
        *audit_files.in_sight(planned, seen),
        *audit_files.descriptors(planned, seen, _taps(cards), _in_user_mode(cards)),
        *_network(planned, seen, cards),
        *audit_rights.groups(planned, seen),
        *audit_rights.limits(planned, seen),
        *_cards(cards),
        *(Finding("configuration", sentence, "a whole jail", Verdict.WEAKER) for sentence in planned.weaker),
    )
    return Audit(found, planned.jailed)


def audit_unseen(reason: str, cards: Cards) -> Audit:
    """Of a domain that has no process to look at, or none that may be looked at."""
    return Audit((unseen("process", "one in a jail", reason), *_cards(cards)))


def _taps(cards: Cards) -> frozenset[str]:
    return frozenset(card.tap for card in cards.planned if card.tap is not None)


def _in_user_mode(cards: Cards) -> int:
    return sum(card.kind is VifKind.USER for card in cards.planned)


def _network(planned: Planned, seen: Observed, cards: Cards) -> Iterator[Finding]:
    """What is in its network namespace: when that is the host's, known beforehand and told all the same."""
    what, expected = "network devices", "lo"
    if seen.network_devices is None:
        yield unseen(what, expected, seen.unseen.get("network_devices", ""))
    else:
        strange = [name for name in seen.network_devices if name != "lo"]
        shared = planned.jailed and not planned.private_network
        why = "a user-mode card needs the host's network" if shared and strange else ""
        names = seen.network_devices
        yield judged(what, few(names), expected, wider=bool(strange), weaker=shared, why=why, details=names)
    forwards = {(protocol, port) for card in cards.planned for protocol, port in card.forwards}
    expected = few((f"{protocol} 127.0.0.1:{port}" for protocol, port in sorted(forwards)), 8)
    if planned.private_network:
        forwards, expected = set(), "none"
    if seen.listening is None:
        yield unseen("listening", expected, seen.unseen.get("listening", ""))
        return
    ears = [f"{each.family} {each.name}" for each in seen.listening if each.family != "udp" or not forwards]
    strange = [ear for ear in ears if ear not in {f"{protocol} 127.0.0.1:{port}" for protocol, port in forwards}]
    yield judged("listening", few(ears, 8), expected, wider=bool(strange), details=ears)


def _cards(cards: Cards) -> Iterator[Finding]:
    reports = {seen.tap: seen for seen in cards.seen}
    for card in cards.planned:
        if card.tap is None:
            continue
        what = f"vif {card.index}"
        expected = f"{card.tap} in {card.bridge}"
        if cards.unseen is not None:
            yield unseen(what, expected, cards.unseen)
            continue
        yield from _card(what, expected, card, reports.get(card.tap))


def _card(what: str, expected: str, card: Card, seen: CardSeen | None) -> Iterator[Finding]:
    if seen is None:
        yield judged(what, "gone", expected, wider=False, why="there is no such device: the guest is cut off")
        return
    found = f"{seen.tap} in {seen.bridge or 'no bridge'}{'' if seen.up else ', down'}"
    elsewhere = seen.bridge is not None and seen.bridge != card.bridge
    yield judged(what, found, expected, wider=elsewhere)
    wanted = ["no spoofing"] if card.antispoof else []
    wanted += [f"group {name}" for name in card.groups]
    yield judged(
        f"{what} rules",
        few(seen.amiss, 1) if seen.amiss else "in force",
        few(wanted, 8),
        wider=bool(seen.amiss),
        details=seen.amiss,
    )
    if not card.antispoof:
        yield Finding(f"{what} spoofing", "allowed", "refused", Verdict.WEAKER, "antispoof=0 in its configuration")


def audit_home(directories: Sequence[str], files: Sequence[HomeFile]) -> tuple[Finding, ...]:
    """The home's directories and what in them others could open. The first of ``directories`` has the public
    parts."""
    tops = {file.path: file for file in files if file.path in directories}
    rows = [_top(path, tops[path]) for path in directories if path in tops]
    public = tuple(PurePosixPath(directories[0], part) for part in PUBLIC)
    inside = [file for file in files if file.path not in directories]
    reached = [f for f in inside if f.reachable and (f.writable or not _within(f.path, public))]
    shut = [file for file in inside if not file.reachable]
    return (
        *rows,
        judged(
            "open to other users",
            few(map(_mode, reached)),
            "nothing but images and cache",
            wider=bool(reached),
            why="take the rights of group and others away: chmod go=" if reached else "",
            details=map(_mode, reached),
        ),
        judged(
            "behind closed doors",
            f"{len(shut)} with a mode of their own" if shut else "none",
            "any",
            wider=False,
            details=map(_mode, shut),
        ),
    )


def _top(path: str, file: HomeFile) -> Finding:
    """Others may pass through a home that someone else made; what is in it is looked at one by one."""
    return judged(path, f"{file.mode:04o}", "0700, or closed within", wider=file.writable)


def _mode(file: HomeFile) -> str:
    return f"{file.path} ({file.mode:04o})"


def _within(path: str, places: Sequence[PurePosixPath]) -> bool:
    here = PurePosixPath(path)
    return any(place == here or place in here.parents for place in places)
