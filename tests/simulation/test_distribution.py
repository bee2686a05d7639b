"""Guests on machines of up to 512 CPUs and 8 nodes, with demand that changes, pins, and CPUs that go offline: what
the planner promises of their distribution, shown by what they get."""

from __future__ import annotations

import random

import pytest
from tests.simulation.processors import Domain, Simulation, Thread, ideal, machine, without

SHAPES = ((1, 1, 4, 1), (1, 1, 4, 2), (2, 1, 4, 2), (2, 2, 4, 2), (4, 2, 4, 1))
"""Nodes, caches a node, cores a cache, threads a core."""
LARGE = (8, 4, 8, 2)
SOON = 8
"""Periods after a change; a vCPU that was just moved stays for 5 of them."""
SEEDS = [*range(5), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(5, 60))]


def shape_of(seed: int) -> tuple[int, int, int, int]:
    return SHAPES[seed % len(SHAPES)]


def domains(chance: random.Random, vcpus: int, wants: tuple[float, ...], nodes: int) -> dict[str, Domain]:
    made: dict[str, Domain] = {}
    count = 0
    while count < vcpus:
        threads = [Thread(chance.choice(wants)) for _ in range(chance.choice((1, 2, 4)))]
        memory = {chance.randrange(nodes): 1 << 30} if chance.random() < 0.7 else {}
        made[f"d{len(made)}"] = Domain(threads, chance.choice((128, 256, 512)), memory=memory)
        count += len(threads)
    return made


def simulated(seed: int, a_cpu: float, wants: tuple[float, ...], shape: tuple[int, int, int, int]) -> Simulation:
    """``a_cpu`` vCPUs for each CPU."""
    chance, topology = random.Random(seed), machine(*shape)
    return Simulation(
        topology, domains(chance, round(len(topology.cpus) * a_cpu), wants, len(topology.nodes)), seed
    )


def change(simulation: Simulation, wants: tuple[float, ...], part: float = 1.0) -> None:
    for _, thread in simulation.threads():
        if simulation.random.random() < part:
            thread.wants = simulation.random.choice(wants)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_cpu_idles_while_a_vcpu_waits_soon_after_a_change(seed: int) -> None:
    simulation = simulated(seed, 1.5, (0.0, 1.0), shape_of(seed))
    for _ in range(3):
        change(simulation, (0.0, 1.0))
        simulation.run(SOON)
        assert simulation.wasted() == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_of_what_is_asked_for_all_is_served_that_can_be(seed: int) -> None:
    """But for what is left over because two vCPUs a CPU are too few to fill all of them: a twentieth at most."""
    wants = (0.0, 0.1, 0.3, 0.5, 0.8, 1.0)
    simulation = simulated(seed, 2, wants, shape_of(seed))
    for _ in range(3):
        change(simulation, wants)
        simulation.run(2 * SOON)
        asked = sum(thread.wants for _, thread in simulation.threads())
        served = sum(thread.got[-1] for _, thread in simulation.threads())
        assert served >= 0.949 * min(asked, len(simulation.topology.cpus))


@pytest.mark.parametrize("seed", SEEDS)
def test_shares_are_as_weights_say(seed: int) -> None:
    simulation = simulated(seed, 8, (0.8, 0.9, 1.0), shape_of(seed))
    simulation.run(40)
    due, had = ideal(simulation), simulation.shares(5)
    worst = max(abs(had[name] / due[name] - 1) for name in due)
    assert worst <= 0.03


@pytest.mark.parametrize(("weights", "parts"), [((256, 512), (1, 2)), ((256, 1024), (1, 4)), ((100, 100), (1, 1))])
def test_two_that_spin_on_one_cpu_have_it_by_weight(weights: tuple[int, int], parts: tuple[int, int]) -> None:
    pin = frozenset({2})
    pinned = {str(place): Domain([Thread(1.0, hard=pin)], weight) for place, weight in enumerate(weights)}
    simulation = Simulation(machine(1, 1, 4, 1), pinned)
    simulation.run(3)
    had = simulation.shares(2)
    assert had["0"] / had["1"] == pytest.approx(parts[0] / parts[1])


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_starves(seed: int) -> None:
    """Not even the lightest among heavy ones, while demand jumps to and fro."""
    simulation = simulated(seed, 4, (0.2, 0.6, 1.0), shape_of(seed))
    simulation.domains["light"] = Domain([Thread(1.0)], weight=1)
    for _ in range(6):
        change(simulation, (0.2, 0.6, 1.0), 0.3)
        simulation.domains["light"].threads[0].wants = 1.0
        simulation.run(5)
        assert simulation.last is not None
        for name, thread in simulation.threads():
            assert sum(thread.got[-5:]) / 5 >= simulation.last.entitled[name] / 2
            assert thread.got[-1] > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_with_steady_demand_moves_come_to_an_end(seed: int) -> None:
    simulation = simulated(seed, 3, (0.1, 0.4, 0.7, 1.0), shape_of(seed))
    simulation.run(60)
    assert simulation.moves[-10:] == [0] * 10


@pytest.mark.parametrize("seed", SEEDS)
def test_small_changes_of_demand_move_few(seed: int) -> None:
    simulation = simulated(seed, 2, (0.1, 0.2, 0.3), shape_of(seed))
    simulation.run(30)
    base = {name: thread.wants for name, thread in simulation.threads()}
    for _ in range(20):
        for name, thread in simulation.threads():
            thread.wants = max(0.0, min(1.0, base[name] * simulation.random.uniform(0.9, 1.1)))
        simulation.run(1)
    count = len(base)
    assert sum(simulation.moves[-20:]) <= 20 * 0.01 * count


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_bounces(seed: int) -> None:
    simulation = simulated(seed, 3, (0.0, 0.3, 0.7, 1.0), shape_of(seed))
    for _ in range(10):
        change(simulation, (0.0, 0.3, 0.7, 1.0), 0.2)
        simulation.run(4)
    assert simulation.bounces(5) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_pins_and_pools_hold_whatever_happens(seed: int) -> None:
    simulation = simulated(seed, 3, (0.0, 0.5, 1.0), shape_of(seed))
    chance = simulation.random
    whole, online = simulation.topology, sorted(simulation.topology.online)
    simulation.reserved = frozenset(online[:1])
    simulation.pools = {"gold": frozenset(online[-len(online) // 4 :])}
    for name, thread in simulation.threads():
        if chance.random() < 0.4:
            thread.hard = frozenset(chance.sample(online, chance.randint(1, len(online) // 2)))
        simulation.domains[name[0]].pool = "gold" if name[0].endswith("3") else "Pool-0"
    for _ in range(8):
        simulation.topology = without(whole, chance.sample(online, chance.randint(0, len(online) // 3)))
        change(simulation, (0.0, 0.5, 1.0), 0.3)
        simulation.run(3)
        assert simulation.last is not None
        impossible = {(each.guest, each.vcpu) for each in simulation.last.impossible}
        for name, thread in simulation.threads():
            allowed = simulation.allowed(simulation.domains[name[0]], thread)
            assert (name in impossible) == (not allowed)
            assert not allowed or thread.cpu in allowed
            assert allowed or thread.got[-1] == 0 or thread.cpu is not None


@pytest.mark.parametrize("seed", SEEDS)
def test_vcpus_of_a_cpu_that_goes_offline_run_elsewhere_at_once(seed: int) -> None:
    simulation = simulated(seed, 2, (0.5, 1.0), shape_of(seed))
    simulation.run(SOON)
    simulation.topology = without(simulation.topology, [1, 2])
    simulation.run(1)
    assert all(thread.cpu in simulation.topology.online for _, thread in simulation.threads())
    assert all(thread.got[-1] > 0 for _, thread in simulation.threads())


def test_a_cap_leaves_time_to_others() -> None:
    capped = {"capped": Domain([Thread(1.0), Thread(1.0)], 1024, cap=50), "free": Domain([Thread(1.0)], 256)}
    simulation = Simulation(machine(1, 1, 1, 1), capped)
    simulation.run(3)
    had = simulation.shares(1)
    assert had["capped"] == pytest.approx(0.5)
    assert had["free"] == pytest.approx(0.5)


def test_a_large_machine_is_kept_busy_by_weight() -> None:
    simulation = simulated(1, 4, (0.5, 0.8, 1.0), LARGE)
    simulation.run(22)
    assert simulation.wasted() == 0
    due, had = ideal(simulation), simulation.shares(3)
    errors = sorted(abs(had[name] / due[name] - 1) for name in due)
    assert errors[len(errors) * 95 // 100] <= 0.03
