"""What is known before a domain moves: what speaks against it, and how long it will take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirt.model.cpu import GivenCpu
from wirt.model.migration import Way
from wirt.model.units import GIB, MIB
from wirt.plan.launch import PADDING_KIB
from wirt.plan.migration import Side, between, forecast

rates = st.integers(1, 10 * GIB)
memories = st.integers(MIB, 64 * GIB)
downtimes = st.floats(0.001, 10)


def side(version: tuple[int, ...] = (10, 0, 2), accelerator: str = "tcg", padding_kib: int = 0) -> Side:
    return Side("there", version, accelerator, "pc-q35-7.2", GivenCpu("max"), None, padding_kib)


def told_of_memory(target: Side) -> bool:
    return any("only while it is paused" in remark.what for remark in between(side(), target))


def test_that_an_old_qemu_would_forget_pages_of_a_guest_without_padding_is_told() -> None:
    assert told_of_memory(side((7, 2, 22)))
    assert not told_of_memory(side((7, 2, 22), padding_kib=PADDING_KIB))
    assert not told_of_memory(side((7, 2, 22), "kvm"))
    assert not told_of_memory(side((9, 0, 0)))


@given(memories, rates, rates, downtimes)
def test_what_is_slower_than_the_link_goes_by_precopy_within_the_downtime(
    memory: int, dirty: int, link: int, downtime_s: float
) -> None:
    told = forecast(memory, dirty, link, downtime_s)
    assert told.sent_bytes >= memory
    if told.way == Way.PRECOPY:
        assert dirty < link or memory / link <= downtime_s, "all of it would fit"
        assert told.total_s >= memory / link
    else:
        assert told.way == Way.CONVERGING
        assert told.rounds > 1


@given(memories, rates, rates)
def test_a_paused_guest_is_sent_once_whatever_it_did(memory: int, dirty: int, link: int) -> None:
    told = forecast(memory, dirty, link, 0.3, paused=True)
    assert (told.way, told.rounds) == (Way.STOPPED, 1)


@pytest.mark.parametrize(("dirty", "way"), [(MIB, Way.PRECOPY), (500 * MIB, Way.POSTCOPY)])
def test_postcopy_is_for_those_that_precopy_can_t_carry(dirty: int, way: Way) -> None:
    told = forecast(GIB, dirty, 100 * MIB, 0.3, postcopy=True)
    assert told.way == way
