"""The frame measures what can be measured, and says of the rest why it could not be."""

from __future__ import annotations

import time

import pytest
from bench.figure import Basis, Direction, Figure
from bench.measure import PATIENCE, Measurement, measure
from bench.rigs.absence import NotHere
from bench.rigs.workshop import Workshop
from bench.verdict import Outcome, judge
from tests.bench.samples import figure, promise


def two(log: list[str]) -> float:
    log.append("two")
    return 2.0


def one(log: list[str]) -> float:
    log.append("one")
    return 1.0


def missing(log: list[str]) -> float:
    raise NotHere("libvirt is not installed: apt-get install it")


def measured(of: Figure[list[str]], runs: int = 3) -> Measurement:
    return measure(of, Workshop(), runs, lambda text: None)


def test_rounds_hold_each_contenders_values_in_turn() -> None:
    seen: list[list[str]] = []

    def peer(log: list[str]) -> float:
        if log not in seen:
            seen.append(log)
        return one(log)

    result = measured(figure(two, peer, warm_up=1), runs=2)
    assert result.rounds == ({"ours": 2.0, "peer": 1.0},) * 2
    assert (result.absent, result.faults) == ({}, ())
    assert seen[0] == ["two", "one"] * 3 + ["end"]


def test_a_peer_that_is_not_here_is_no_fault() -> None:
    result = measured(figure(two, missing))
    assert result.rounds == ({"ours": 2.0},) * 3
    assert result.faults == ()
    verdict = judge(promise(), result.rounds, result.absent)
    assert verdict.outcome is Outcome.NOT_MEASURABLE
    assert verdict.reason == "peer: libvirt is not installed: apt-get install it"


def test_a_rig_that_is_not_here_is_nobodys_fault() -> None:
    result = measured(figure(two, one, rig_fails=NotHere("no guest")))
    assert result.absent == {"ours": "no guest", "peer": "no guest"}
    assert result.faults == ()


def test_a_rig_that_fails_is_a_fault() -> None:
    result = measured(figure(two, one, rig_fails=OSError("no room")))
    assert result.faults == ("the rig: OSError: no room",)
    assert set(result.absent) == {"ours", "peer"}


def test_a_failed_run_is_a_fault_and_the_others_count() -> None:
    outcomes = iter([2.0, None, 4.0])

    def sometimes(log: list[str]) -> float:
        value = next(outcomes)
        if value is None:
            raise ValueError("broken")
        return value

    result = measured(figure(sometimes, one))
    assert result.faults == ("ours, run 2: ValueError: broken",)
    assert result.rounds == ({"ours": 2.0, "peer": 1.0}, {"peer": 1.0}, {"ours": 4.0, "peer": 1.0})
    assert judge(promise(limit=3), result.rounds, result.absent).outcome is Outcome.KEPT


def test_a_contender_that_always_fails_is_not_asked_for_ever() -> None:
    asked = 0

    def broken(log: list[str]) -> float:
        nonlocal asked
        asked += 1
        raise ValueError("broken")

    result = measured(figure(broken, one), runs=10)
    assert asked == PATIENCE == len(result.faults)
    assert "it failed 3 times" in result.absent["ours"]
    assert all(each == {"peer": 1.0} for each in result.rounds)


def test_a_run_ends_at_its_deadline() -> None:
    def hangs(log: list[str]) -> float:
        time.sleep(30)
        return 0.0

    result = measured(figure(hangs, one), runs=1)
    assert result.faults == ("ours, run 1: not done within 0.2 s",)
    assert result.rounds == ({"peer": 1.0},)


def test_an_interrupt_ends_the_rig_and_goes_on() -> None:
    logs: list[list[str]] = []

    def interrupted(log: list[str]) -> float:
        logs.append(log)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(figure(interrupted, one))
    assert logs == [["end"]]


@pytest.mark.parametrize(
    ("basis", "direction", "limit", "outcome"),
    [
        (Basis.VALUE, Direction.AT_MOST, 6.0, Outcome.KEPT),
        (Basis.VALUE, Direction.BELOW, 6.0, Outcome.MISSED),
        (Basis.VALUE, Direction.AT_LEAST, 6.0, Outcome.KEPT),
        (Basis.VALUE, Direction.AT_LEAST, 6.1, Outcome.MISSED),
        (Basis.DIFFERENCE, Direction.AT_MOST, 4.0, Outcome.KEPT),
        (Basis.DIFFERENCE, Direction.AT_MOST, 3.9, Outcome.MISSED),
        (Basis.RATIO, Direction.AT_MOST, 3.0, Outcome.KEPT),
        (Basis.RATIO, Direction.BELOW, 3.0, Outcome.MISSED),
    ],
)
def test_a_promise_is_kept_up_to_its_limit(
    basis: Basis, direction: Direction, limit: float, outcome: Outcome
) -> None:
    rounds = [{"ours": 6.0, "peer": 2.0}]
    assert judge(promise(basis, limit, direction), rounds, {}).outcome is outcome


def test_without_a_pair_there_is_no_verdict() -> None:
    verdict = judge(promise(), [{"ours": 1.0}, {"peer": 1.0}], {})
    assert (verdict.outcome, verdict.measured, verdict.reason) == (
        Outcome.NOT_MEASURABLE,
        None,
        "no run succeeded",
    )


def test_a_promise_about_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a peer"):
        type(promise())("words", "ours", Basis.RATIO, Direction.AT_MOST, 1, "times")
