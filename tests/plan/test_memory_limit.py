"""A run's limit follows its balloon: who keeps his word never meets it, and who lies wins nothing in the end."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from wirt.plan.memory_limit import AGAIN_S, GRACE_S, Past, Seen, limit_for, margin, next_limit

BESIDE = 264
FULL = 1024 + BESIDE
SEEN = Seen(most=1024, granted=512, actual=512, driver=True, beside=BESIDE, limit=FULL, held=600)
WANTED = 512 + margin(1024) + BESIDE


def test_a_guest_that_has_given_is_held_to_what_it_has_and_a_margin() -> None:
    found = next_limit(SEEN, Past(), 0.0)
    assert (found.mib, found.trouble) == (WANTED, None)
    assert WANTED == limit_for(512, 1024, BESIDE) < FULL


def test_one_that_may_have_all_is_held_to_all() -> None:
    assert next_limit(replace(SEEN, granted=1024, limit=WANTED), Past(settled=True), 0.0).mib == FULL


def test_nothing_is_lowered_before_the_balloon_is_seen_there() -> None:
    for seen in (replace(SEEN, actual=513), replace(SEEN, driver=False, actual=1024)):
        found = next_limit(seen, Past(), 0.0)
        assert (found.mib, found.trouble) == (FULL, None)


def test_who_lets_go_by_himself_wins_nothing_and_is_told_of() -> None:
    found = next_limit(replace(SEEN, actual=1024, limit=WANTED), Past(settled=True), 0.0)
    assert found.mib == WANTED and "1024 MiB of the 512" in str(found.trouble)


def test_one_whose_driver_goes_away_has_a_while_to_come_back_and_then_no_more_than_it_holds() -> None:
    gone = replace(SEEN, driver=False, actual=1024, limit=WANTED, held=900)
    found = next_limit(gone, Past(settled=True), 100.0)
    assert (found.mib, found.trouble) == (FULL, None)
    still = next_limit(replace(gone, limit=FULL), found.past, 99.0 + GRACE_S)
    assert still.mib == FULL
    after = next_limit(replace(gone, limit=FULL), still.past, 101.0 + GRACE_S)
    assert after.mib == 900 + margin(1024) and "let go" in str(after.trouble)
    back = next_limit(replace(SEEN, limit=after.mib), after.past, 200.0)
    assert back.mib == WANTED
    again = next_limit(replace(gone, held=700, limit=WANTED), back.past, 300.0)
    assert again.mib == 700 + margin(1024) or again.mib == WANTED, "it can't come and go for more"
    assert next_limit(replace(gone, limit=WANTED), back.past, 100.0 + AGAIN_S).mib == FULL


def test_who_says_that_he_gave_and_did_not_is_held_to_his_word_after_a_while() -> None:
    liar = replace(SEEN, held=1100)
    found = next_limit(liar, Past(), 0.0)
    assert found.mib == 1100 + margin(1024), "no more than it holds"
    liar = replace(liar, limit=found.mib)
    assert next_limit(liar, found.past, GRACE_S - 1).mib == found.mib
    at_last = next_limit(liar, found.past, GRACE_S)
    assert at_last.mib == WANTED and "says that it gave" in str(at_last.trouble)
    honest = next_limit(replace(liar, held=600), found.past, GRACE_S)
    assert (honest.mib, honest.trouble, honest.past.over_since) == (WANTED, None, None)


SIZES = st.integers(64, 4096)


@st.composite
def honest(draw: st.DrawFn) -> Seen:
    """One that holds at most what it says, and a QEMU that takes no more than is allowed for it."""
    most = draw(SIZES)
    granted = draw(st.integers(32, most))
    driver = draw(st.booleans())
    actual = draw(st.integers(32, most)) if driver else most
    held = draw(st.integers(0, actual + BESIDE))
    limit = draw(st.integers(min(held, most + BESIDE), most + BESIDE))
    return Seen(most, granted, actual, driver, BESIDE, limit, held)


PASTS = st.builds(
    Past,
    settled=st.booleans(),
    over_since=st.none() | st.floats(0, 1000),
    grace_from=st.none() | st.floats(0, 1000),
)


@settings(max_examples=500)
@given(honest(), PASTS, st.floats(1000, 3000))
def test_no_limit_is_set_below_what_an_honest_guest_holds(seen: Seen, past: Past, now: float) -> None:
    found = next_limit(seen, past, now)
    assert found.mib >= seen.held
    assert found.mib <= seen.most + seen.beside


@settings(max_examples=500)
@given(honest(), PASTS, st.floats(0, 3000))
def test_a_limit_is_raised_only_for_a_grant_or_for_a_driver_that_is_away(
    seen: Seen, past: Past, now: float
) -> None:
    found = next_limit(seen, past, now)
    if seen.driver:
        assert found.mib <= max(seen.limit, limit_for(seen.granted, seen.most, seen.beside))


@settings(max_examples=200)
@given(SIZES, st.data())
def test_whatever_a_guest_says_and_holds_it_ends_up_with_what_it_was_granted(
    most: int, data: st.DataObject
) -> None:
    """One whose driver is at work and claims to have given, with whatever it really holds."""
    granted = data.draw(st.integers(32, most))
    past, limit, now = Past(), most + BESIDE, 0.0
    while now <= 3 * GRACE_S:
        held = data.draw(st.integers(0, limit))  # the kernel sees to that
        found = next_limit(Seen(most, granted, granted, True, BESIDE, limit, held), past, now)
        past, limit, now = found.past, found.mib, now + 5.0
    assert limit <= max(limit_for(granted, most, BESIDE), held + margin(most))
    holds_on = Seen(most, granted, granted, True, BESIDE, limit, most + BESIDE)
    for _ in range(2):
        found = next_limit(holds_on, past, now)
        past, now = found.past, now + GRACE_S + 1
    assert found.mib == limit_for(granted, most, BESIDE)
