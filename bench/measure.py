"""One figure measured: its contenders in turn, each run under a deadline, each failure written down."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import TypeVar

from bench.figure import Contender, Figure
from bench.rigs.absence import NotHere
from bench.rigs.workshop import Workshop
from bench.schedule import turns
from bench.summary import Round

R = TypeVar("R")
Tell = Callable[[str], None]

PATIENCE = 3
"""A contender that has failed so often is not asked again."""


class RunTimeout(Exception):
    """A run took longer than its figure allows."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """``rounds`` as they came; ``absent`` says why a contender can't be had here; ``faults`` are failures of
    the measuring itself, and whoever reads the numbers must know them."""

    rounds: tuple[Round, ...]
    absent: Mapping[str, str]
    faults: tuple[str, ...]
    took_s: float


def measure(figure: Figure[R], workshop: Workshop, runs: int, tell: Tell) -> Measurement:
    begin = time.monotonic()
    rounds: list[dict[str, float]] = [{} for _ in range(runs)]
    notes = _Notes(tuple(contender.name for contender in figure.contenders))
    try:
        with contextlib.ExitStack() as stack:
            with deadline(figure.rig_timeout_s):
                rig = stack.enter_context(figure.rig(workshop))
            _take_turns(figure, rig, rounds, notes, tell)
    except NotHere as missing:
        notes.nobody(str(missing))
    except Exception as error:
        notes.faults.append(f"the rig: {words(error)}")
        notes.nobody(words(error))
    return Measurement(tuple(rounds), notes.absent, tuple(notes.faults), time.monotonic() - begin)


class _Notes:
    """What went wrong, and who is out of it because of that."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.absent: dict[str, str] = {}
        self.faults: list[str] = []
        self._failures = dict.fromkeys(names, 0)

    def nobody(self, reason: str) -> None:
        for name in self.names:
            self.absent.setdefault(name, reason)

    def fault(self, name: str, round_number: int | None, error: Exception) -> None:
        which = "warm-up" if round_number is None else f"run {round_number + 1}"
        self.faults.append(f"{name}, {which}: {words(error)}")
        self._failures[name] += 1
        if self._failures[name] == PATIENCE:
            self.absent[name] = f"it failed {PATIENCE} times: {words(error)}"


def _take_turns(figure: Figure[R], rig: R, rounds: list[dict[str, float]], notes: _Notes, tell: Tell) -> None:
    by_name = {contender.name: contender for contender in figure.contenders}
    for turn in turns(tuple(by_name), len(rounds), figure.warm_up):
        if turn.contender in notes.absent:
            continue
        tell(f"{turn.contender}, {'warm-up' if turn.round is None else f'run {turn.round + 1} of {len(rounds)}'}")
        try:
            value = _run(by_name[turn.contender], rig, figure.timeout_s)
        except NotHere as missing:
            notes.absent[turn.contender] = str(missing)
        except Exception as error:
            notes.fault(turn.contender, turn.round, error)
        else:
            if turn.round is not None:
                rounds[turn.round][turn.contender] = value


def _run(contender: Contender[R], rig: R, timeout_s: float) -> float:
    with deadline(timeout_s):
        return contender.run(rig)


@contextlib.contextmanager
def deadline(timeout_s: float) -> Iterator[None]:
    """:class:`RunTimeout` in the midst of whatever the block does. For the main thread."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise RunTimeout(f"not done within {timeout_s:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def words(error: Exception) -> str:
    text = str(error).strip()
    return text if isinstance(error, RunTimeout) and text else f"{type(error).__name__}: {text}".rstrip(": ")
