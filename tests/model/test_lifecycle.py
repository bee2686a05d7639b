"""The state table: who may go where, and what xl would print."""

from __future__ import annotations

import itertools

import pytest

from wirt.model.errors import ConfigError, IllegalState
from wirt.model.lifecycle import State, flags, move


@pytest.mark.parametrize("state", State)
def test_staying_is_always_allowed(state: State) -> None:
    assert move("web", state, state) is state


@pytest.mark.parametrize("state", [s for s in State if s is not State.OFF])
def test_every_run_can_end(state: State) -> None:
    assert move("web", state, State.OFF) is State.OFF


def test_an_illegal_move_names_the_domain_and_both_states() -> None:
    with pytest.raises(IllegalState, match=r"web is off and can't become running"):
        move("web", State.OFF, State.RUNNING)


def test_nothing_comes_back_from_dying() -> None:
    for state in set(State) - {State.DYING, State.OFF}:
        with pytest.raises(IllegalState):
            move("web", State.DYING, state)


@pytest.mark.parametrize(("state", "blocked"), list(itertools.product(State, (True, False))))
def test_flags_are_six_letters_with_at_most_one_set(state: State, blocked: bool) -> None:
    shown = flags(state, blocked=blocked)
    assert len(shown) == 6
    assert sum(letter != "-" for letter in shown) <= 1
    assert all(letter in ("-", place) for letter, place in zip(shown, "rbpscd", strict=True))


def test_an_error_in_a_file_begins_with_its_place_as_compilers_have_it() -> None:
    error = ConfigError("a number was expected", file="web.cfg", line=3, column=10, key="memory")
    assert str(error) == "web.cfg:3:10: memory: a number was expected"
