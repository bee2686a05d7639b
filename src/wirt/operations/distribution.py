"""The distributor: after each pass of the accounting it asks the planner (:mod:`wirt.plan.distribute`), and moves
vCPUs.

It counts nothing by itself: how long each vCPU ran, and how long it could have run and had no CPU, is what the
pass has read for all (:mod:`wirt.operations.accounting`). Each move that changes where a vCPU may be is told in an
event, with its reason; while it only advises, each new advice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import structlog

from wirt.model.accounting import Sample, VcpuCount
from wirt.model.cpulists import list_text
from wirt.model.domain import Domain
from wirt.model.errors import IllegalState, WirtError
from wirt.model.topology import Topology
from wirt.operations.accounting import EVERY_S
from wirt.operations.environment import Environment
from wirt.operations.placement import Distribution, Placement, Seat, load_of, place
from wirt.operations.scheduling import is_held
from wirt.plan.distribute import Move, distribute
from wirt.ports.vcpu_threads import VcpuThreads

log = structlog.get_logger()

PERIOD_S = EVERY_S
NS = 1e-9
NEWEST = 0.5
"""Of a smoothed figure, the part that is the last period's."""
EVENT = "scheduling"


@dataclass(frozen=True, slots=True)
class CountedGuest:
    domain: Domain
    threads: Mapping[int, int]
    counted: Sample


async def distribute_once(environment: Environment) -> tuple[Move, ...]:
    """One period; the moves of its plan, carried out if the distributor is on. A domain that can't be planned for
    is left out (:func:`~wirt.operations.scheduling.lay` tells why), and one until it was counted."""
    scheduling, placement = environment.scheduling, environment.scheduling.placement
    topology = placement.topology()
    if topology is None or scheduling.threads is None or placement.mode is Distribution.OFF:
        return ()
    async with scheduling.lock:
        guests = await _guests(environment, scheduling.threads, topology)
        used = measure(placement, guests)
        placement.busy = _busy(environment, topology, used)
        plan = distribute(load_of(environment, [guest.domain for guest in guests.values()], topology))
        for move in plan.moves:
            guest = guests[move.guest]
            if placement.mode is Distribution.ON:
                _carry_out(environment, guest, move)
            else:
                _advise(environment, guest, move)
    return plan.moves


async def _guests(
    environment: Environment, threads: VcpuThreads, topology: Topology
) -> Mapping[str, CountedGuest]:
    found = {}
    for domain in environment.domains:
        counted = environment.accounting.last(domain.uuid)
        if is_held(domain) and counted is not None and counted.count.vcpus:
            try:
                load_of(environment, [domain], topology)
                found[domain.name] = CountedGuest(domain, dict(await threads.of(domain.uuid)), counted)
            except IllegalState:
                continue  # it has ended
            except WirtError as error:
                log.debug("a domain is not distributed", domain=domain.name, error=str(error))
    return found


def measure(placement: Placement, guests: Mapping[str, CountedGuest]) -> Mapping[int, float]:
    """What each vCPU ran and waited since the last period; how much all of them ran on each CPU."""
    used: dict[int, float] = {}
    for guest in guests.values():
        for count in guest.counted.count.vcpus:
            seat = placement.seat(guest.domain.uuid, count.index)
            if seat.left is not None:
                seat.home, seat.left = _found_home(seat, count.cpu), None
            ran = _sit(seat, count, guest.counted.at_s)
            if count.cpu is not None:
                used[count.cpu] = used.get(count.cpu, 0.0) + ran
    return used


def _sit(seat: Seat, count: VcpuCount, now: float) -> float:
    """Note what a vCPU did until ``now``; the part of the time since its last count that it ran. One that was
    counted once only has done nothing yet."""
    last, passed_s = seat.last, now - seat.at
    if last is not None and passed_s <= 0:
        return 0.0
    seat.rested, seat.last, seat.at = seat.rested + 1, count, now
    if last is None:
        return 0.0
    ran = _part((count.ran_ns - last.ran_ns) * NS, passed_s)
    waited = _part(((count.waited_ns or 0) - (last.waited_ns or 0)) * NS, passed_s)
    seat.used += NEWEST * (ran - seat.used)
    seat.waited += NEWEST * (waited - seat.waited)
    return ran


def _found_home(seat: Seat, cpu: int | None) -> int | None:
    """Where an earlier daemon's distributor had it: one that sleeps may have run last where it may not be now."""
    assert seat.left
    return seat.home if seat.home is not None else cpu if cpu in seat.left else min(seat.left)


def _busy(environment: Environment, topology: Topology, used: Mapping[int, float]) -> dict[int, float]:
    """The part of each CPU's time that other things than vCPUs took. Threads wander among the CPUs at a cache
    within a period, so it is counted for each cache, and shared out evenly."""
    placement, host = environment.scheduling.placement, environment.accounting.host
    if not host:
        return {}
    times, now = dict(host[-1].each_cpu_time_s), host[-1].at_s
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


def _carry_out(environment: Environment, guest: CountedGuest, move: Move) -> None:
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


def _advise(environment: Environment, guest: CountedGuest, move: Move) -> None:
    seat: Seat = environment.scheduling.placement.seat(guest.domain.uuid, move.vcpu)
    if seat.advised != move.target:
        seat.advised = move.target
        _tell(environment, guest.domain.uuid, "advice", move, str(move.target))


def _tell(environment: Environment, uuid: UUID, what: str, move: Move, cpus: str) -> None:
    data = {"what": what, "vcpu": move.vcpu, "source": move.source, "target": move.target, "cpus": cpus}
    more = {"gain": round(move.gain, 3), "forced": move.forced, "reason": move.reason}
    environment.bus.publish(EVENT, move.guest, uuid, {**data, **more})
