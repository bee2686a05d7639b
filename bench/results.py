"""Results on disk: for each figure a JSON document with every run, and a Markdown table of what it comes to."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from bench.figure import Figure
from bench.machine import Facts
from bench.measure import Measurement
from bench.rigs.workshop import ROOT
from bench.summary import summarise
from bench.tables import footer, report
from bench.verdict import Verdict, judge

R = TypeVar("R")
FORMAT = "wirt-bench-1"


def document(figure: Figure[R], measured: Measurement, machine: Facts, versions: Facts) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "figure": figure.name,
        "measures": figure.measures,
        "unit": figure.unit,
        "command": f"python -m bench {figure.name}",
        "machine": machine,
        "versions": versions,
        "took_s": round(measured.took_s, 1),
        "promises": [_promise(judge(each, measured.rounds, measured.absent)) for each in figure.promises],
        "contenders": {each.name: _contender(each.name, measured) for each in figure.contenders},
        "rounds": [{name: _rounded(value) for name, value in each.items()} for each in measured.rounds],
        "faults": list(measured.faults),
    }


def write(
    directory: Path,
    figure: Figure[R],
    measured: Measurement,
    machine: Facts,
    versions: Facts,
    ours: Sequence[Path],
) -> None:
    """Files named for the figure, so that a later run shows as a difference. ``ours`` are directories whose
    paths mean nothing elsewhere: no result holds them."""
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document(figure, measured, machine, versions), indent=2, ensure_ascii=False) + "\n"
    markdown = report(figure, measured).replace("## ", "# ", 1) + "\n" + footer(figure, machine, versions)
    (directory / f"{figure.name}.json").write_text(anonymous(text, ours))
    (directory / f"{figure.name}.md").write_text(anonymous(markdown, ours))


def anonymous(text: str, ours: Sequence[Path]) -> str:
    """``text`` without the places of this machine."""
    places = dict.fromkeys(ours, "WORKSHOP") | {ROOT: ".", Path(tempfile.gettempdir()): "TMP"}
    for path in sorted(places, key=lambda path: len(str(path)), reverse=True):
        text = text.replace(str(path), places[path])
    return text


def _promise(verdict: Verdict) -> dict[str, Any]:
    promise = asdict(verdict.promise)
    measured = None if verdict.measured is None else _rounded(verdict.measured)
    return {
        **promise,
        "measured": measured,
        "runs": verdict.runs,
        "verdict": verdict.outcome,
        **({"reason": verdict.reason} if verdict.reason else {}),
    }


def _contender(name: str, measured: Measurement) -> dict[str, Any]:
    found = summarise(measured.rounds, name)
    if found is None:
        return {"runs": 0, "reason": measured.absent.get(name, "no run succeeded")}
    return {key: _rounded(value) for key, value in asdict(found).items()}


def _rounded(value: float) -> float:
    return round(value, 4)
