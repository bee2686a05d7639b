"""So many moves side by side and no more, in the order in which they were asked for, and none waits for ever."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as some

from wirt.operations.turns import HEARD_S, PROMISED_S, Arrivals
from wirt.plan.turns import Leaving, side_by_side, waits_for


@some.composite
def queues(draw: some.DrawFn) -> list[Leaving]:
    count = draw(some.integers(1, 8))
    return [
        Leaving(
            str(number),
            draw(some.sampled_from(["b", "c"])),
            float(draw(some.integers(0, 3))),
            False,
            draw(some.sampled_from([None, "one", "two"])),
            draw(some.sampled_from([None, 1, 2])),
        )
        for number in range(count)
    ]


@given(queues(), some.integers(1, 3))
def test_never_too_many_go_and_all_have_their_turn(queue: list[Leaving], at_once: int) -> None:
    waiting, gone = {each.id: each for each in queue}, 0
    going: dict[str, Leaving] = {}
    while waiting or going:
        under_way = (*waiting.values(), *going.values())
        free = [
            each
            for each in waiting.values()
            if waits_for(each, [other for other in under_way if other.id != each.id], at_once) is None
        ]
        for each in free[:1]:
            going[each.id] = replace(waiting.pop(each.id), begun=True)
        assert len(going) <= at_once
        if not free:
            assert going, "nobody goes and nobody may"
            going.popitem()
            gone += 1
    assert gone == len(queue)


def test_whoever_was_first_goes_first_and_keeps_nobody_from_another_host() -> None:
    first, later = Leaving("1", "b", 1.0, False), Leaving("2", "b", 2.0, False)
    elsewhere = Leaving("3", "c", 3.0, False)
    assert waits_for(first, [later, elsewhere], 1) is None
    assert waits_for(later, [first, elsewhere], 1) == "1 to b are before it"
    assert waits_for(elsewhere, [first, later], 1) is None


def test_a_command_may_want_fewer_at_once() -> None:
    going = Leaving("1", "b", 1.0, True, "x", 1)
    assert waits_for(Leaving("2", "b", 2.0, False, "x", 1), [going], 4) == "1 of this command move already"
    assert waits_for(Leaving("3", "b", 3.0, False), [going, Leaving("2", "b", 2.0, False, "x", 1)], 4) is None


@given(some.integers(1, 99), some.none() | some.integers(1, 99), some.integers(1, 64))
def test_so_many_share_a_link(count: int, at_once: int | None, limit: int) -> None:
    found = side_by_side(count, at_once, limit)
    assert 1 <= found <= min(count, limit)
    assert at_once is None or found <= at_once


def test_a_host_has_room_for_so_many_and_the_first_that_asked_comes_first() -> None:
    arrivals = Arrivals()
    assert arrivals.ask("one", 0.0, {"other"}, 2).granted
    assert (arrivals.ask("two", 0.1, {"other"}, 2).granted, arrivals.ask("two", 0.2, {"other"}, 2).ahead) == (
        False,
        2,
    )
    assert not arrivals.ask("three", 0.3, {"one"}, 1).granted
    assert arrivals.ask("one", 0.4, {"one"}, 1).granted
    assert not arrivals.ask("three", 0.5, set(), 1).granted, "two asked before it"
    assert arrivals.ask("two", 0.6, set(), 1).granted
    assert not arrivals.ask("three", 0.7, set(), 1).granted


def test_a_place_is_not_kept_for_ever_nor_for_those_who_fell_silent() -> None:
    arrivals = Arrivals()
    assert arrivals.ask("one", 0.0, set(), 1).granted
    assert not arrivals.ask("two", 1.0, set(), 1).granted
    assert not arrivals.ask("three", PROMISED_S - 5.0, set(), 1).granted
    later = PROMISED_S + 1.0
    assert later - 1.0 > HEARD_S
    assert arrivals.ask("three", later, set(), 1).granted, "one never came, and two does not ask any more"
