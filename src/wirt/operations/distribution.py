"""The distributor: once a period it measures vCPUs, asks the planner (:mod:`wirt.plan.distribute`) and moves them.

What it counts is the kernel's own: how long each thread ran, and how long it could have run and had no CPU. Each
move that changes where a vCPU may be is told in an event, with its reason; while it only advises, each new advice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import structlog

from wirt.model.cpulists import list_text
from wirt.model.domain import Domain
from wirt.model.errors import IllegalState, WirtError
from wirt.model.topology import Topology
from wirt.operations.environment import Environment
from wirt.operations.placement import Distribution, Placement, Seat, load_of, place
from wirt.operations.scheduling import is_held
from wirt.plan.distribute import Move, distribute
from wirt.ports.vcpu_threads import VcpuThreads

log = structlog.get_logger()

PERIOD_S = 1.0
NEWEST = 0.5
"""Of a smoothed figure, the part that is the last period's."""
EVENT = "scheduling"


@dataclass(frozen=True, slots=True)
class _Guest:
    domain: Domain
    threads: Mapping[int, int]


async def distribute_once(environment: Environment) -> tuple[Move, ...]:
    """One period; the moves of its plan, carried out if the distributor is on. A domain that can't be planned for
    is left out: :func:`~wirt.operations.scheduling.lay` tells why."""
    scheduling, placement = environment.scheduling, environment.scheduling.placement
    topology = placement.topology()
    if topology is None or scheduling.threads is None or placement.mode is Distribution.OFF:
        return ()
    async with scheduling.lock:
        guests = await _guests(environment, scheduling.threads, topology)
        used = _measure(environment, scheduling.threads, guests)
        placement.busy = _busy(environment, topology, used)
        plan = distribute(load_of(environment, [guest.domain for guest in guests.values()], topology))
        for move in plan.moves:
            guest = guests[move.guest]
            if placement.mode is Distribution.ON:
                _carry_out(environment, guest, move)
            else:
                _advise(environment, guest, move)
    return plan.moves


async def _guests(environment: Environment, threads: VcpuThreads, topology: Topology) -> Mapping[str, _Guest]:
    found = {}
    for domain in environment.domains:
        if is_held(domain):
            try:
                load_of(environment, [domain], topology)
                found[domain.name] = _Guest(domain, dict(await threads.of(domain.uuid)))
            except IllegalState:
                continue  # it has ended
            except WirtError as error:
                log.debug("a domain is not distributed", domain=domain.name, error=str(error))
    return found


def _measure(environment: Environment, threads: VcpuThreads, guests: Mapping[str, _Guest]) -> Mapping[int, float]:
    """What each vCPU ran and waited since the last period; how much all of them ran on each CPU."""
    placement, now = environment.scheduling.placement, environment.clock.monotonic()
    used: dict[int, float] = {}
    for guest in guests.values():
        for number, thread in guest.threads.items():
            time, seat = threads.time(thread), placement.seat(guest.domain.uuid, number)
            if time is None:
                continue
            seat.rested += 1
            if seat.last is None and placement.mode is Distribution.ON:
                seat.home = _found_home(threads, thread, time.cpu, placement)
            elif seat.last is not None and now > seat.at:
                passed_s = now - seat.at
                ran, waited = time.ran_s - seat.last.ran_s, time.waited_s - seat.last.waited_s
                seat.used += NEWEST * (_part(ran, passed_s) - seat.used)
                seat.waited += NEWEST * (_part(waited, passed_s) - seat.waited)
                if time.cpu is not None:
                    used[time.cpu] = used.get(time.cpu, 0.0) + _part(ran, passed_s)
            seat.last, seat.at = time, now
    return used


def _found_home(threads: VcpuThreads, thread: int, cpu: int | None, placement: Placement) -> int | None:
    """Where an earlier daemon's distributor had it, if one did."""
    affinity = threads.affinity(thread)
    topology = placement.topology()
    kept = affinity is not None and topology is not None and affinity < topology.online
    return cpu if kept else None


def _busy(environment: Environment, topology: Topology, used: Mapping[int, float]) -> dict[int, float]:
    """The part of each CPU's time that other things than vCPUs took. Threads wander among the CPUs at a cache
    within a period, so it is counted for each cache, and shared out evenly."""
    placement, now = environment.scheduling.placement, environment.clock.monotonic()
    times = dict(environment.machine.now().each_cpu_time_s)
    before, at = placement.cpu_times
    placement.cpu_times = (times, now)
    if now <= at or not before:
        return {}
    found: dict[int, float] = {}
    for cpus in topology.caches().values():
        worked = sum(_part(times.get(cpu, 0.0) - before.get(cpu, 0.0), now - at) for cpu in cpus)
        others = worked - sum(used.get(cpu, 0.0) for cpu in cpus)
        found.update(dict.fromkeys(cpus, min(1.0, max(0.0, others / len(cpus)))))
    return found


def _part(seconds: float, passed_s: float) -> float:
    return min(1.0, max(0.0, seconds / passed_s))


def _carry_out(environment: Environment, guest: _Guest, move: Move) -> None:
    scheduling, uuid, thread = environment.scheduling, guest.domain.uuid, guest.threads.get(move.vcpu)
    if thread is None or scheduling.threads is None:
        return
    seat, before = scheduling.placement.seat(uuid, move.vcpu), scheduling.threads.affinity(thread)
    seat.home, seat.rested = move.target, 0 if move.source is not None else seat.rested
    try:
        place(environment, guest.domain, {move.vcpu: thread})
    except WirtError as error:
        log.warning("a vCPU could not be moved", domain=guest.domain.name, vcpu=move.vcpu, error=str(error))
        return
    after = scheduling.threads.affinity(thread)
    if after is not None and after != before:
        _tell(environment, uuid, "moved", move, list_text(after))


def _advise(environment: Environment, guest: _Guest, move: Move) -> None:
    seat: Seat = environment.scheduling.placement.seat(guest.domain.uuid, move.vcpu)
    if seat.advised != move.target:
        seat.advised = move.target
        _tell(environment, guest.domain.uuid, "advice", move, str(move.target))


def _tell(environment: Environment, uuid: UUID, what: str, move: Move, cpus: str) -> None:
    data = {"what": what, "vcpu": move.vcpu, "source": move.source, "target": move.target, "cpus": cpus}
    more = {"gain": round(move.gain, 3), "forced": move.forced, "reason": move.reason}
    environment.bus.publish(EVENT, move.guest, uuid, {**data, **more})
