"""Which vCPUs a guest is told to bring online and take offline."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirt.model.errors import IllegalState
from wirt.model.vcpus import GuestVcpu
from wirt.plan.vcpus import switch


def guest(*online: bool) -> list[GuestVcpu]:
    """vCPU 0 can't be taken offline, as on most machines."""
    return [GuestVcpu(number, on, fixed=number == 0) for number, on in enumerate(online)]


def test_the_last_ones_go_first_and_the_first_ones_come_first() -> None:
    assert switch("web", guest(True, True, True), 1).changes == ((1, False), (2, False))
    assert switch("web", guest(True, False, False), 2).changes == ((1, True),)
    assert switch("web", guest(True, True), 2).done


def test_one_that_a_person_took_offline_is_exchanged_for_the_last() -> None:
    assert switch("web", guest(True, False, True), 2).changes == ((1, True), (2, False))


def test_what_the_guest_has_not_found_yet_is_told() -> None:
    found = switch("web", guest(True, False), 4)
    assert (found.changes, found.missing, found.done) == (((1, True),), 2, False)


def test_one_that_can_not_be_taken_offline_is_named() -> None:
    stays = [*guest(True, True), GuestVcpu(2, online=True, fixed=True)]
    with pytest.raises(IllegalState, match="keeps its vCPU 2 online") as caught:
        switch("web", stays, 2)
    assert caught.value.hint is not None and "at least 3" in caught.value.hint


vcpus = st.lists(st.booleans(), min_size=1, max_size=40).flatmap(
    lambda online: st.permutations(guest(True, *online))
)


@given(vcpus, st.integers(1, 60))
def test_whoever_does_as_he_is_told_has_what_was_asked_for(known: list[GuestVcpu], count: int) -> None:
    found = switch("web", known, count)
    told = dict(found.changes)
    after = [replace(vcpu, online=told.get(vcpu.number, vcpu.online)) for vcpu in known]
    assert sorted(vcpu.number for vcpu in after if vcpu.online) == list(range(min(count, len(known))))
    assert sum(vcpu.online for vcpu in after) + found.missing == count
    again = switch("web", after, count)
    assert (again.changes, again.missing) == ((), found.missing)
    assert all(vcpu.online != told[vcpu.number] for vcpu in known if vcpu.number in told), "nothing for nothing"
