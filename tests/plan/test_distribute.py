"""Where vCPUs are sent, and why: cores before threads, near memory, and never where they may not run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.simulation.processors import level_of, machine, without

from wirt.plan.distribute import Distribution, Guest, Load, Vcpu, distribute, reach
from wirt.plan.distribute_shares import Claim, fill, settle

FOUR = machine(1, 1, 4, 1)
THREADS = machine(1, 1, 4, 2)
"""Of one core are 0 and 4, 1 and 5, and so on."""
NODES = machine(2, 1, 4, 1)
FAR = machine(8, 1, 2, 1)
BUSY = Vcpu(used=1.0)


def done(load: Load, plan: Distribution) -> Load:
    """The load after ``plan``, a period later, with demand as it was."""
    moves = {(move.guest, move.vcpu): move for move in plan.moves}

    def moved(guest: Guest, number: int) -> Vcpu:
        vcpu, move = guest.vcpus[number], moves.get((guest.name, number))
        if move is None:
            return replace(vcpu, rested=vcpu.rested + 1)
        return replace(vcpu, cpu=move.target, rested=vcpu.rested if move.source is None else 1)

    guests = (
        replace(guest, vcpus=tuple(moved(guest, number) for number in range(len(guest.vcpus))))
        for guest in load.guests
    )
    return replace(load, guests=tuple(guests))


def targets(plan: Distribution) -> list[int]:
    return [move.target for move in plan.moves]


def test_cores_are_filled_before_threads() -> None:
    plan = distribute(Load(THREADS, tuple(Guest(f"g{number}", (BUSY,)) for number in range(6))))
    assert {cpu % 4 for cpu in targets(plan)[:4]} == {0, 1, 2, 3}
    assert len(set(targets(plan))) == 6


def test_who_shares_a_core_goes_to_one_that_has_none() -> None:
    guests = (Guest("a", (replace(BUSY, cpu=0),)), Guest("b", (replace(BUSY, cpu=4),)))
    (move,) = distribute(Load(THREADS, guests)).moves
    assert move.target % 4 != 0
    assert "core" in move.reason


def test_who_waits_goes_where_time_is_free() -> None:
    guests = tuple(Guest(name, (Vcpu(0.5, 0.5, cpu=1),)) for name in "ab")
    plan = distribute(Load(FOUR, guests))
    (move,) = plan.moves
    assert (move.source, move.target, move.forced) == (1, 0, False)
    assert move.reason == "CPU 1 is asked for 200% of its time, and of CPU 0's 100% are free"
    assert move.gain > 1
    assert (plan.before.waiting, plan.after.waiting) == (1.0, 0.0)


def test_who_was_moved_lately_stays() -> None:
    guests = tuple(Guest(name, (Vcpu(0.5, 0.5, cpu=1, rested=2),)) for name in "ab")
    assert distribute(Load(FOUR, guests)).moves == ()


def test_what_wins_little_is_left() -> None:
    guests = tuple(Guest(name, (Vcpu(0.05, cpu=1),)) for name in "ab")
    assert distribute(Load(FOUR, guests)).moves == ()


def test_nothing_is_worth_more_than_that_nothing_waits() -> None:
    """Its memory is on the other node, whose CPUs are all taken."""
    near = tuple(Guest(f"g{cpu}", (replace(BUSY, cpu=cpu),)) for cpu in range(4))
    plan = distribute(Load(NODES, (*near, Guest("new", (BUSY,), memory={0: 1 << 30}))))
    assert targets(plan)[0] in {4, 5, 6, 7}


def test_a_new_guest_is_put_near_its_memory_and_together() -> None:
    plan = distribute(Load(NODES, (Guest("a", (BUSY,) * 3, memory={1: 1 << 30}),)))
    assert set(targets(plan)) < {4, 5, 6, 7}
    plan = distribute(Load(NODES, (Guest("a", (BUSY,) * 4),)))
    assert set(targets(plan)) in ({0, 1, 2, 3}, {4, 5, 6, 7})


def test_who_is_far_from_its_memory_goes_there() -> None:
    (move,) = distribute(Load(FAR, (Guest("a", (replace(BUSY, cpu=0),), memory={4: 1 << 30}),))).moves
    assert move.target in FAR.of_node(4)
    assert "memory" in move.reason


def full(memory: dict[int, dict[int, int]]) -> Load:
    """Two nodes of four CPUs, all of them busy; ``memory`` is that of the guests on some of the CPUs."""
    guests = (Guest(f"g{cpu}", (replace(BUSY, cpu=cpu),), memory=memory.get(cpu, {})) for cpu in range(8))
    apart = (replace(node, distances={node.id: 10, 1 - node.id: 21}) for node in NODES.nodes)
    return Load(replace(NODES, nodes=tuple(apart)), tuple(guests))


def test_two_on_each_others_node_change_places() -> None:
    both = {0: {1: 1 << 30}, 7: {0: 1 << 30}}
    home = {cpu: {cpu // 4: 1 << 30} for cpu in range(1, 7)}
    plan = distribute(full(both | home))
    assert sorted((move.source, move.target) for move in plan.moves) == [(0, 7), (7, 0)]
    assert "changes places with g7's vCPU 0" in plan.moves[0].reason


def test_one_that_does_not_care_makes_way_for_one_that_does() -> None:
    home = {cpu: {cpu // 4: 1 << 30} for cpu in range(1, 7)}
    plan = distribute(full({0: {1: 1 << 30}} | home))
    assert sorted((move.source, move.target) for move in plan.moves) == [(0, 7), (7, 0)]


def test_soft_affinity_is_kept_while_it_can_be() -> None:
    soft = replace(BUSY, soft=frozenset({2}))
    assert targets(distribute(Load(FOUR, (Guest("a", (soft,)),)))) == [2]
    taken = Guest("b", (replace(BUSY, cpu=2, hard=frozenset({2})),))
    assert targets(distribute(Load(FOUR, (taken, Guest("a", (soft,)))))) == [0]
    (move,) = distribute(Load(FOUR, (Guest("a", (replace(soft, cpu=0),)),))).moves
    assert (move.target, "would rather" in move.reason) == (2, True)


def test_slower_cores_come_last() -> None:
    slow = replace(FOUR, cpus=tuple(replace(cpu, capacity=400 if cpu.id < 2 else 1024) for cpu in FOUR.cpus))
    assert set(targets(distribute(Load(slow, (Guest("a", (BUSY,) * 2),))))) == {2, 3}


def test_what_else_the_host_does_counts() -> None:
    plan = distribute(Load(FOUR, (Guest("a", (BUSY,) * 2),), busy={0: 0.9, 1: 0.9}))
    assert set(targets(plan)) == {2, 3}


def test_pins_that_can_never_be_are_said() -> None:
    topology = without(FOUR, [3])
    pinned = {"offline": {3}, "ours": {0}, "pool": {1}, "none": {77}}
    guests = tuple(
        Guest(name, (replace(BUSY, hard=frozenset(hard)),), pool="gold" if name == "pool" else "Pool-0")
        for name, hard in pinned.items()
    )
    load = Load(topology, guests, pools={"gold": frozenset({2})}, reserved=frozenset({0}))
    said = {each.guest: f"{each.why}: {each.hint}" for each in distribute(load).impossible}
    hint = "pin it to some of 1, which its pool Pool-0 has"
    assert said == {
        "offline": f"it is pinned to the CPUs 3, and none of them is online: {hint}",
        "ours": f"it is pinned to the CPUs 0, which are kept for Domain-0: {hint}",
        "none": f"it is pinned to the CPUs 77, and none of them is online: {hint}",
        "pool": "it is pinned to the CPUs 1, and pool gold has none of them: "
        "pin it to some of 2, which its pool gold has",
    }


def test_a_pool_without_cpus_is_said() -> None:
    (said,) = distribute(Load(FOUR, (Guest("a", (BUSY,), pool="gone"),))).impossible
    assert said.why == "pool gone has no CPU that is online and not kept for Domain-0"


@pytest.mark.parametrize(
    ("cpu", "hard", "why"),
    [
        (3, None, "CPU 3 is offline"),
        (0, None, "CPU 0 is kept for Domain-0"),
        (2, None, "CPU 2 is not in its pool Pool-0"),
        (2, {1}, "CPU 2 is not among those that it is pinned to"),
        (None, None, "it had no CPU yet"),
    ],
)
def test_who_cant_stay_is_told_why(cpu: int | None, hard: set[int] | None, why: str) -> None:
    vcpu = replace(BUSY, cpu=cpu, hard=frozenset(hard) if hard else None, rested=0)
    load = Load(
        without(FOUR, [3]), (Guest("a", (vcpu,)),), pools={"gold": frozenset({2})}, reserved=frozenset({0})
    )
    (move,) = distribute(load).moves
    assert (move.target, move.forced, move.source) == (1, True, cpu)
    assert move.reason.startswith(why)


def test_a_machine_with_nothing_on_it_needs_nothing() -> None:
    plan = distribute(Load(FOUR, ()))
    assert (plan.moves, plan.after.waiting, plan.after.idle) == ((), 0, 4)


def test_within_a_cache_the_kernel_may_do_as_it_likes_and_no_pin_breaks() -> None:
    topology = machine(2, 2, 2, 1)
    load = Load(topology, (), pools={"gold": frozenset({1})}, reserved=frozenset({4}))
    guest = Guest("a", ())
    assert reach(load, guest, Vcpu(), 2) == {2, 3}
    assert reach(load, guest, Vcpu(), 0) == {0}
    assert reach(load, guest, Vcpu(), 5) == {5}
    assert reach(load, guest, Vcpu(hard=frozenset({3, 7})), 3) == {3}
    assert reach(load, guest, Vcpu(soft=frozenset({2, 6})), 2) == {2}
    assert reach(load, guest, Vcpu(soft=frozenset({0, 6})), 2) == {2, 3}


# ---- entitlements

WISH = st.tuples(st.sampled_from((1.0, 64.0, 256.0, 512.0, 65535.0)), st.floats(0, 8))


@given(st.lists(WISH, max_size=20), st.floats(0, 16))
@settings(deadline=None)
def test_shares_fill_up_as_water_does(wishes: list[tuple[float, float]], capacity: float) -> None:
    shares, level = fill(wishes, capacity), level_of(wishes, capacity)
    assert sum(shares) == pytest.approx(min(capacity, sum(demand for _, demand in wishes)), abs=1e-6)
    for share, (weight, demand) in zip(shares, wishes, strict=True):
        assert 0 <= share <= demand
        assert share == pytest.approx(min(demand, level * weight), abs=1e-5)


def test_who_is_pinned_competes_for_his_cpus_first() -> None:
    one, every = frozenset({0}), frozenset(range(4))
    pinned = [Claim(256, 1.0, one) for _ in range(4)]
    others = [Claim(256, 1.0, every) for _ in range(6)]
    settle([*pinned, *others], dict.fromkeys(every, 1.0), [every])
    assert [claim.share for claim in pinned] == [pytest.approx(0.25)] * 4
    assert [claim.share for claim in others] == [pytest.approx(0.5)] * 6


def test_what_is_due_goes_by_weight_and_cap() -> None:
    busy = replace(BUSY, hard=frozenset({0}))
    guests = (
        Guest("light", (busy,), weight=256),
        Guest("heavy", (busy,), weight=512),
        Guest("held", (busy,), weight=1024, cap=10),
    )
    entitled = distribute(Load(FOUR, guests)).entitled
    assert entitled == {
        ("light", 0): pytest.approx(0.3),
        ("heavy", 0): pytest.approx(0.6),
        ("held", 0): pytest.approx(0.1),
    }


def test_a_load_that_has_faded_out_for_an_hour_asks_for_nothing() -> None:
    """Halved each second, it becomes as small as a number can be, and never nothing."""
    fading = [0.5 * 0.5**seconds for seconds in (900, 1000, 1073)]
    guests = (
        Guest("busy", tuple(Vcpu(0.0, 1.0, None, 0) for _ in range(6))),
        Guest(
            "idle", (*(Vcpu(each, 0.0, None, 0, hard=frozenset({0})) for each in fading), Vcpu(1.0, 0.0, None, 0))
        ),
    )
    entitled = distribute(Load(FOUR, guests)).entitled
    assert sum(entitled.values()) == pytest.approx(4)
    assert [entitled["idle", number] for number in range(3)] == [0, 0, 0]


# ---- whatever there is

CPUS = st.frozensets(st.integers(0, 9), min_size=1, max_size=6)
VCPU = st.builds(
    Vcpu,
    used=st.floats(0, 1),
    waited=st.floats(0, 1),
    cpu=st.none() | st.integers(0, 9),
    rested=st.integers(0, 9),
    hard=st.none() | CPUS,
    soft=st.none() | CPUS,
)
GUESTS = st.lists(
    st.builds(
        Guest,
        name=st.uuids().map(str),
        vcpus=st.lists(VCPU, max_size=5).map(tuple),
        weight=st.sampled_from((1, 256, 65535)),
        cap=st.sampled_from((0, 1, 50, 250)),
        pool=st.sampled_from(("Pool-0", "gold")),
        memory=st.dictionaries(st.integers(0, 2), st.integers(0, 1 << 40), max_size=2),
    ),
    max_size=8,
    unique_by=lambda guest: guest.name,
).map(tuple)
LOADS = st.builds(
    Load,
    topology=st.builds(
        lambda shape, gone: without(machine(*shape), gone),
        st.sampled_from(((1, 1, 4, 2), (2, 1, 2, 2), (2, 2, 2, 1), (1, 1, 3, 1))),
        st.frozensets(st.integers(1, 9), max_size=2),
    ),
    guests=GUESTS,
    pools=st.sampled_from(({}, {"gold": frozenset({1, 2})}, {"gold": frozenset()})),
    reserved=st.frozensets(st.integers(0, 9), max_size=2),
    busy=st.dictionaries(st.integers(0, 9), st.floats(0, 1), max_size=4),
)


@given(LOADS)
@settings(deadline=None)
def test_nobody_is_ever_sent_where_he_may_not_run(load: Load) -> None:
    plan = distribute(load)
    guests = {guest.name: guest for guest in load.guests}
    pool_0 = load.topology.online.difference(*load.pools.values())
    for move in plan.moves:
        guest = guests[move.guest]
        vcpu = guest.vcpus[move.vcpu]
        assert move.target in load.topology.online - load.reserved
        assert vcpu.hard is None or move.target in vcpu.hard
        assert move.target in (load.pools.get(guest.pool, frozenset()) if guest.pool != "Pool-0" else pool_0)
        assert move.source == vcpu.cpu != move.target
        near = reach(load, guest, vcpu, move.target)
        assert move.target in near <= load.may(vcpu.hard, guest.pool)
        assert move.forced or (move.gain > 0 and vcpu.rested >= 5)
        assert move.reason
    moved = [(move.guest, move.vcpu) for move in plan.moves]
    assert len(moved) == len(set(moved))
    assert not set(moved) & {(each.guest, each.vcpu) for each in plan.impossible}


@given(LOADS)
@settings(deadline=None)
def test_everybody_has_a_cpu_or_is_impossible(load: Load) -> None:
    plan = distribute(load)
    told = {(each.guest, each.vcpu) for each in plan.impossible}
    for guest in done(load, plan).guests:
        for number, vcpu in enumerate(guest.vcpus):
            assert vcpu.cpu in load.topology.online or (guest.name, number) in told


@given(LOADS)
@settings(deadline=None)
def test_nobody_is_due_more_than_he_asks_for_or_there_is(load: Load) -> None:
    plan = distribute(load)
    for guest in load.guests:
        due = [plan.entitled[guest.name, number] for number in range(len(guest.vcpus))]
        assert all(0 <= each <= vcpu.demand + 1e-9 for each, vcpu in zip(due, guest.vcpus, strict=True))
        assert not guest.cap or sum(due) <= guest.cap / 100 + 1e-9
    placed = sum(plan.entitled.values()) - sum(plan.entitled[each.guest, each.vcpu] for each in plan.impossible)
    assert placed <= len(load.topology.cpus) + 1e-6


def at_rest(load: Load) -> tuple[float, float]:
    """With steady demand moves end. What waited once all had a place, and what does then."""
    load = done(load, distribute(load))
    plan = distribute(load)
    waiting = plan.before.waiting
    for _ in range(60):
        if not plan.moves and all(vcpu.rested >= 5 for guest in load.guests for vcpu in guest.vcpus):
            break
        load = done(load, plan)
        plan = distribute(load)
    assert plan.moves == ()
    return waiting, plan.after.waiting


@given(LOADS)
@settings(deadline=None, max_examples=50)
def test_steady_demand_comes_to_rest(load: Load) -> None:
    at_rest(load)


def plain(load: Load, shape: tuple[int, int, int, int]) -> Load:
    """Nothing in it that is worth some waiting: wishes, memory, cores of several threads, others' work."""
    guests = (
        replace(guest, vcpus=tuple(replace(vcpu, soft=None) for vcpu in guest.vcpus), memory={})
        for guest in load.guests
    )
    return replace(load, topology=machine(*shape), guests=tuple(guests), busy={})


@given(LOADS, st.sampled_from(((2, 2, 2, 1), (1, 1, 3, 1))))
@settings(deadline=None, max_examples=50)
def test_no_more_waits_at_rest_than_before_if_nothing_is_worth_it(
    load: Load, shape: tuple[int, int, int, int]
) -> None:
    before, after = at_rest(plain(load, shape))
    assert after <= before + 0.1


def test_an_exchange_for_next_to_nothing_is_not_made_and_taken_back_for_ever() -> None:
    """CPU 0 has a busy vCPU and one that sleeps, which may run nowhere else: a hundredth too much."""
    idle, busy = Vcpu(0.0, 0.0, None, 0), Vcpu(0.0, 1.0, None, 0)
    pinned, soft = replace(idle, hard=frozenset({0})), replace(idle, soft=frozenset({0}))
    guests = (Guest("one", (idle, idle, busy, busy, pinned)), Guest("two", (busy, soft)))
    for gone in ({1, 2}, {1, 4}, {4, 5}):
        at_rest(Load(without(machine(1, 1, 4, 2), frozenset(gone)), guests))


def test_an_exchange_does_not_leave_a_cpu_idle_for_which_others_wait() -> None:
    def wants(*demands: float) -> tuple[Vcpu, ...]:
        return tuple(Vcpu(0.0, demand, None, 0) for demand in demands)

    guests = (
        Guest("one", wants(0, 0, 0, 1, 1), weight=1),
        Guest("two", wants(0, 1, 1, 1), weight=1),
        Guest("heavy", wants(1, 0.5, 0.75), weight=256),
    )
    before, after = at_rest(Load(without(machine(1, 1, 4, 2), frozenset({1, 2})), guests))
    assert after <= before


@given(LOADS)
@settings(deadline=None, max_examples=30)
def test_the_same_load_has_the_same_plan(load: Load) -> None:
    assert distribute(load) == distribute(load)
