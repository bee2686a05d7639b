"""The command line of ``python -m bench``. Exit codes: 0 measured (whether promises are kept or not), 1 a fault
in the measuring, 2 the command line was wrong, 130 after Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from bench.figure import Figure
from bench.figures import FIGURES
from bench.machine import machine, versions
from bench.measure import Measurement, measure
from bench.results import write
from bench.rigs.workshop import ROOT, Workshop
from bench.tables import count, overview, report
from bench.verdict import Verdict, judge

RESULTS = ROOT / "bench" / "results"
QUICK_RESULTS = ROOT / ".cache" / "bench"
QUIET_LOAD = 0.5
FAULT, INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    strangers = set(options.figures) - {figure.name for figure in FIGURES}
    if strangers:
        known = ", ".join(figure.name for figure in FIGURES)
        parser.error(f"there is no figure {', '.join(sorted(strangers))}; there are: {known}")
    if options.list:
        _show_list()
        return 0
    chosen = [figure for figure in FIGURES if not options.figures or figure.name in options.figures]
    _make_interruptible()
    try:
        with Workshop() as workshop:
            return _measure_all(chosen, workshop, options)
    except KeyboardInterrupt:
        sys.stderr.write("bench: interrupted; what was started has been ended\n")
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure what SPECIFICATION.md promises.")
    parser.add_argument("figures", metavar="NAME", nargs="*", help="figures (default: all)")
    parser.add_argument("--list", action="store_true", help="show the figures and their promises")
    parser.add_argument(
        "--runs", type=_positive, help="runs of each contender, instead of the figure's own number"
    )
    quick = f"few runs, to try things out; results go to {QUICK_RESULTS.relative_to(ROOT)}"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--results", type=Path, help=f"where results go (default: {RESULTS.relative_to(ROOT)})")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _show_list() -> None:
    for figure in FIGURES:
        print(f"{figure.name}: {figure.measures} ({figure.unit}; {figure.runs} runs)")
        for promise in figure.promises:
            print(f"  {promise.words}: {promise.direction} {promise.limit:g} {promise.unit}")


def _measure_all(figures: Sequence[Figure[Any]], workshop: Workshop, options: argparse.Namespace) -> int:
    directory: Path = options.results or (QUICK_RESULTS if options.quick else RESULTS)
    verdicts: dict[str, list[Verdict]] = {}
    faults = 0
    load = machine(workshop)["load"]
    _warn_of(load)
    for figure in figures:
        runs: int = options.runs or (figure.quick_runs if options.quick else figure.runs)
        measured = measure(figure, workshop, runs, _Progress(figure.name))
        _Progress(figure.name).erase()
        facts = {**machine(workshop), "load": load}  # ours is in it by now; what counts is what was there before
        write(directory, figure, measured, facts, versions(), [workshop.directory])
        print(report(figure, measured), flush=True)
        verdicts[figure.name] = _verdicts(figure, measured)
        faults += len(measured.faults)
    if len(figures) > 1:
        print(overview(verdicts))
    if faults:
        sys.stderr.write(f"bench: {count(faults, 'fault')} in measuring, listed with the figures\n")
    return FAULT if faults else 0


def _warn_of(load: str | int | float) -> None:
    if float(load) > QUIET_LOAD:
        sys.stderr.write(f"bench: the machine is busy (load {load}): expect numbers that are worth little\n")


def _verdicts(figure: Figure[Any], measured: Measurement) -> list[Verdict]:
    return [judge(promise, measured.rounds, measured.absent) for promise in figure.promises]


class _Progress:
    """One line that is written over on a terminal; elsewhere, a line for each figure."""

    def __init__(self, figure: str) -> None:
        self._figure = figure
        self._first = True

    def __call__(self, text: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{self._figure}: {text}")
            sys.stderr.flush()
        elif self._first:
            sys.stderr.write(f"bench: {self._figure} ...\n")
        self._first = False

    def erase(self) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")


def _make_interruptible() -> None:
    """SIGTERM and SIGHUP end it as Ctrl-C does; while it clears up, another one changes nothing."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, interrupt)
