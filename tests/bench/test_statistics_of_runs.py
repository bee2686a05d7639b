"""Turns, medians and ratios: what the numbers of every figure rest on."""

from __future__ import annotations

import pytest
from bench.schedule import Turn, turns
from bench.summary import Paired, Summary, compare, summarise


def test_contenders_take_turns_and_warm_up_first() -> None:
    order = list(turns(("A", "B"), runs=2, warm_up=1))
    assert order == [
        Turn("A", None),
        Turn("B", None),
        Turn("A", 0),
        Turn("B", 0),
        Turn("A", 1),
        Turn("B", 1),
    ]


def test_without_warm_up_the_first_round_counts() -> None:
    assert list(turns(("A",), runs=1, warm_up=0)) == [Turn("A", 0)]


def test_a_summary_is_of_the_runs_that_succeeded() -> None:
    rounds = [{"A": 1.0}, {}, {"A": 9.0}, {"A": 2.0}]
    assert summarise(rounds, "A") == Summary(runs=3, median=2.0, minimum=1.0, maximum=9.0)
    assert summarise(rounds, "B") is None


def test_ratios_are_paired_run_by_run() -> None:
    """A machine that gets ten times slower half-way changes neither: the ratio of the medians would be 10."""
    rounds = [{"A": 2.0, "B": 1.0}, {"A": 20.0, "B": 10.0}, {"A": 20.0, "B": 10.0}, {"A": 2.0, "B": 1.0}]
    assert compare(rounds, "A", "B") == Paired(runs=4, ratio=2.0, difference=5.5)


def test_a_round_without_its_peer_is_no_pair() -> None:
    paired = compare([{"A": 3.0, "B": 1.0}, {"A": 100.0}, {"B": 100.0}], "A", "B")
    assert paired == Paired(runs=1, ratio=3.0, difference=2.0)
    assert compare([{"A": 3.0}, {"B": 1.0}], "A", "B") is None


@pytest.mark.parametrize("runs", [0, 1])
def test_a_peer_that_took_nothing_gives_no_ratio(runs: int) -> None:
    assert compare([{"A": 1.0, "B": 0.0}] * runs, "A", "B") is None
