"""Memory goes to those who need it, and the host always has enough for whatever guests may hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wirt.plan.memory import GuestMemory, HostMemory, MemoryPlan, plan_memory

HOST = HostMemory(total=4096, reserve=512, available=4096)
WEB = GuestMemory("web", has=1024, most=2048, guaranteed=512, wished=1024, overhead=64)


def targets(plan: MemoryPlan) -> dict[str, int]:
    return {target.guest: target.target for target in plan.targets}


def test_who_uses_much_gets_more_while_there_is_room() -> None:
    plan = plan_memory(HOST, [replace(WEB, used=1400)])
    assert targets(plan) == {"web": 1750}
    assert plan.targets[0].reason == "it uses 1400"
    assert plan.holds.text == "Domain-0 512 + web 1814 = 2326 <= 4096 MiB"


def test_nobody_gives_while_nobody_needs() -> None:
    plan = plan_memory(HOST, [replace(WEB, used=100)])
    assert not plan.targets[0].changes


def test_who_has_more_than_he_needs_gives_and_then_the_other_gets() -> None:
    host = HostMemory(2048, 512, 4)
    rich, poor = replace(WEB, has=1000, used=300), replace(WEB, name="db", has=400, guaranteed=256, used=600)
    plan = plan_memory(host, [rich, poor])
    assert targets(plan)["web"] < 1000
    assert targets(plan)["db"] == 400 + 4
    assert plan.targets[0].reason == "it uses 300, and the host needs what is over"
    assert plan.targets[1].reason.endswith("more when others have given them")
    rich, poor = replace(rich, has=targets(plan)["web"]), replace(poor, has=404)
    later = plan_memory(replace(host, available=300), [rich, poor])
    assert targets(later)["db"] > 600
    assert later.holds.holds


def test_pressure_counts_more_than_what_a_guest_says() -> None:
    plan = plan_memory(HOST, [replace(WEB, used=200, pressure=0.4)])
    assert targets(plan) == {"web": 1280}
    assert "40%" in plan.targets[0].reason


def test_a_guest_without_balloon_stays_as_it_is() -> None:
    fixed = replace(WEB, balloon=False, used=2000, pressure=0.9)
    plan = plan_memory(HostMemory(1400, 512, 0), [fixed])
    assert targets(plan) == {"web": 1024}
    assert plan.targets[0].reason == "it has no balloon driver, and stays as it is"
    assert plan.claims.terms[1].why == "1024 held for good, without a balloon, and 64 for its QEMU"


def test_one_that_tells_nothing_has_what_its_configuration_says() -> None:
    assert targets(plan_memory(HOST, [replace(WEB, has=600)])) == {"web": 1024}


@pytest.mark.parametrize(("used", "changes"), [(820, False), (830, False), (900, True)])
def test_a_trifle_is_left(used: int, changes: bool) -> None:
    assert plan_memory(HOST, [replace(WEB, used=used)]).targets[0].changes is changes


def test_who_is_below_his_guarantee_comes_first() -> None:
    below = replace(WEB, name="below", has=300, used=500)
    plan = plan_memory(replace(HOST, available=212), [replace(WEB, used=1600), below])
    assert targets(plan) == {"web": 1024, "below": 512}


def test_guarantees_that_cant_be_kept_are_said_with_the_figures() -> None:
    plan = plan_memory(HostMemory(1024, 512, 100), [replace(WEB, has=512), replace(WEB, name="db", has=300)])
    assert not plan.claims.holds
    assert plan.remarks[0] == (
        "more is guaranteed than there is: Domain-0 512 + web 576 + db 576 = 1664 > 1024 MiB; "
        "stop a guest, move it away, or lower a guarantee"
    )
    assert targets(plan) == {"web": 512, "db": 300}


def test_a_guarantee_above_the_most_is_said() -> None:
    plan = plan_memory(HOST, [replace(WEB, guaranteed=3000)])
    assert "is guaranteed 3000 MiB and can have 2048 at most" in plan.remarks[0]
    assert targets(plan)["web"] <= 2048


def test_without_guests_there_is_nothing_to_do() -> None:
    plan = plan_memory(HOST, [])
    assert (plan.targets, plan.claims.holds, plan.claims.sum) == ((), True, 512)


# ---- whatever there is


@st.composite
def guests(draw: st.DrawFn) -> list[GuestMemory]:
    made = []
    for number in range(draw(st.integers(0, 7))):
        most = draw(st.integers(64, 4096))
        made.append(
            GuestMemory(
                f"g{number}",
                has=draw(st.integers(16, most)),
                most=most,
                guaranteed=draw(st.integers(16, most)),
                wished=draw(st.integers(16, most)),
                overhead=draw(st.integers(0, 128)),
                used=draw(st.none() | st.integers(0, 5000)),
                pressure=draw(st.sampled_from((0.0, 0.05, 0.5))),
                balloon=draw(st.booleans()),
            )
        )
    return made


HOSTS = st.builds(HostMemory, st.integers(256, 16384), st.integers(0, 1024), st.integers(0, 16384))


@given(HOSTS, guests())
@settings(deadline=None)
def test_never_more_is_held_than_there_is(host: HostMemory, given_: list[GuestMemory]) -> None:
    """If it fits before, it fits at every moment while the plan is carried out, whoever is quick or slow, and
    whoever claims his guarantee."""
    plan = plan_memory(host, given_)
    held = host.reserve + sum(guest.has + guest.overhead for guest in given_)
    sure = {guest.name: guest.guaranteed if guest.balloon else guest.has for guest in given_}
    before = host.reserve + sum(max(guest.has, sure[guest.name]) + guest.overhead for guest in given_)
    worst = host.reserve + sum(
        max(guest.has, target.target, sure[guest.name]) + guest.overhead
        for guest, target in zip(given_, plan.targets, strict=True)
    )
    assert plan.holds.sum == worst <= max(before, host.total)
    assert plan.holds.holds or before > host.total
    grown = sum(max(0, target.target - target.has) for target in plan.targets)
    assert grown <= min(host.available, max(0, host.total - held))


def test_what_is_guaranteed_to_somebody_is_not_lent() -> None:
    """There is not enough at hand for its guarantee now: so nobody else grows."""
    below = replace(WEB, name="below", has=200, guaranteed=1024)
    plan = plan_memory(replace(HOST, available=300), [replace(WEB, used=1500), below])
    assert targets(plan) == {"web": 1024, "below": 500}
    assert plan.holds.terms[2].why == "1024 guaranteed, and set aside, and 64 for its QEMU"


@given(HOSTS, guests())
@settings(deadline=None)
def test_targets_are_between_guarantee_and_most(host: HostMemory, given_: list[GuestMemory]) -> None:
    for guest, target in zip(given_, plan_memory(host, given_).targets, strict=True):
        if not guest.balloon:
            assert target.target == guest.has
        elif target.target < guest.has:
            assert target.target >= guest.guaranteed
        else:
            assert guest.has <= target.target <= guest.most


@given(HOSTS, guests())
@settings(deadline=None)
def test_carried_out_again_and_again_it_comes_to_rest_and_fits(
    host: HostMemory, given_: list[GuestMemory]
) -> None:
    host = replace(host, available=1 << 20)
    now = [replace(guest, pressure=0.0) for guest in given_]
    for _ in range(40):
        plan = plan_memory(host, now)
        if not any(target.changes for target in plan.targets):
            break
        now = [replace(guest, has=target.target) for guest, target in zip(now, plan.targets, strict=True)]
    assert not any(target.changes for target in plan_memory(host, now).targets)
    assert plan_memory(host, now).holds.holds or not plan.claims.holds


@given(HOSTS, guests())
@settings(deadline=None)
def test_a_guarantee_that_is_needed_comes(host: HostMemory, given_: list[GuestMemory]) -> None:
    """Whoever needs his guarantee has it in the end, if all guarantees fit."""
    host = replace(host, available=1 << 20)
    now = [replace(guest, pressure=0.0) for guest in given_]
    for _ in range(40):
        plan = plan_memory(host, now)
        now = [replace(guest, has=target.target) for guest, target in zip(now, plan.targets, strict=True)]
    if plan.claims.holds:
        assert all(guest.has >= guest.guaranteed for guest in now if guest.balloon)


@given(HOSTS, guests())
@settings(deadline=None)
def test_a_proof_says_what_it_sums(host: HostMemory, given_: list[GuestMemory]) -> None:
    for proof in (plan_memory(host, given_).claims, plan_memory(host, given_).holds):
        assert proof.text.endswith(f"= {proof.sum} {'<=' if proof.holds else '>'} {host.total} MiB")
        assert [term.whose for term in proof.terms] == ["Domain-0", *(guest.name for guest in given_)]
