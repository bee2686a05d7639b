"""The frame in which somebody speaks for a card."""

from __future__ import annotations

from wirt.network.heralds import announcement

from .test_spoofing import ANNA, HONEST


def test_it_is_what_the_filter_takes_from_a_guest_that_has_moved() -> None:
    assert announcement(ANNA) == HONEST["its announcement after a move"]
