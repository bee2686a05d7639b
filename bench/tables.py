"""A measured figure as text: one Markdown that reads well on a screen too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from bench.figure import Basis, Contender, Figure, Promise
from bench.machine import Facts
from bench.measure import Measurement
from bench.summary import compare, summarise
from bench.verdict import Outcome, Verdict, judge

R = TypeVar("R")


def report(figure: Figure[R], measured: Measurement) -> str:
    parts = [
        f"## {figure.name}",
        figure.measures + ".",
        _contenders(figure, measured),
        _promises(figure, measured),
    ]
    if measured.faults:
        parts.append("Faults in measuring:\n\n" + "\n".join(f"- {_one_line(fault)}" for fault in measured.faults))
    return "\n\n".join(parts) + "\n"


def footer(figure: Figure[R], machine: Facts, versions: Facts) -> str:
    """How to measure it again, and what these numbers are from."""
    facts = ", ".join(f"{name} {value}" for name, value in {**machine, **versions}.items())
    return f"Measured by `python -m bench {figure.name}` on: {facts}.\n"


def number(value: float) -> str:
    """Three digits that count, never an exponent."""
    magnitude = abs(value)
    return f"{value:.0f}" if magnitude >= 100 else f"{value:.1f}" if magnitude >= 10 else f"{value:.2f}"


def count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> str:
    """Columns as wide as their widest cell; those of ``right`` are aligned to the right."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(header))]
    rule = ["-" * (width - 1) + (":" if column in right else "-") for column, width in enumerate(widths)]

    def line(row: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    return "\n".join(line(row) for row in (cells[0], rule, *cells[1:]))


def _contenders(figure: Figure[R], measured: Measurement) -> str:
    header = ("contender", "runs", f"median, {figure.unit}", "min", "max", "run by run", "what")
    rows = []
    for contender in figure.contenders:
        found = summarise(measured.rounds, contender.name)
        if found is None:
            reason = measured.absent.get(contender.name, "no run succeeded")
            rows.append((contender.name, "0", "", "", "", "", f"not measurable here: {_one_line(reason)}"))
            continue
        numbers = (number(found.median), number(found.minimum), number(found.maximum))
        rows.append((contender.name, str(found.runs), *numbers, _times(contender, measured), contender.what))
    return table(header, rows, right=frozenset({1, 2, 3, 4}))


def _times(contender: Contender[R], measured: Measurement) -> str:
    """The median ratio to the contender that it is set beside."""
    if contender.beside is None:
        return ""
    paired = compare(measured.rounds, contender.name, contender.beside)
    return "" if paired is None else f"{number(paired.ratio)} x {contender.beside}"


def _promises(figure: Figure[R], measured: Measurement) -> str:
    header = ("promise", "limit", "measured", "as", "verdict")
    rows = [_promise(judge(promise, measured.rounds, measured.absent)) for promise in figure.promises]
    return table(header, rows, right=frozenset({1, 2}))


def _promise(verdict: Verdict) -> tuple[str, ...]:
    promise = verdict.promise
    limit = f"{promise.direction} {promise.limit:g} {promise.unit}"
    if verdict.outcome is Outcome.NOT_MEASURABLE or verdict.measured is None:
        return (promise.words, limit, "", "", f"{verdict.outcome}: {_one_line(verdict.reason)}")
    measured = f"{number(verdict.measured)} {promise.unit}"
    return (
        promise.words,
        limit,
        measured,
        f"{_basis(promise)}; {count(verdict.runs, 'run')}",
        str(verdict.outcome),
    )


def _basis(promise: Promise) -> str:
    match promise.basis:
        case Basis.VALUE:
            return f"median of {promise.subject}"
        case Basis.DIFFERENCE:
            return f"median of {promise.subject} - {promise.against}, run by run"
        case Basis.RATIO:
            return f"median of {promise.subject} / {promise.against}, run by run"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def overview(verdicts: Mapping[str, Sequence[Verdict]]) -> str:
    """All promises of all figures, for the end of a long run."""
    rows = [
        (name, *_promise(verdict)[:3], str(verdict.outcome)) for name, of in verdicts.items() for verdict in of
    ]
    return table(("figure", "promise", "limit", "measured", "verdict"), rows, right=frozenset({2, 3}))
