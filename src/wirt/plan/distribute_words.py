"""Why a vCPU is moved, in a sentence."""

from __future__ import annotations

from wirt.model.cpulists import list_text
from wirt.plan.distribute_load import Impossible
from wirt.plan.distribute_seats import SIBLING, WAITING, Seats


def why_moved(seats: Seats, vcpu: int, target: int) -> str:
    """The weightiest of what speaks for it, before it is moved."""
    now = seats.at[vcpu]
    assert now is not None
    entitled, demand = seats.entitled[vcpu], seats.demand[vcpu]
    here, there = seats.dislike(vcpu, now), seats.dislike(vcpu, target)
    wins = {name: entitled * (here[name] - there[name]) for name in here}
    left, taken = seats.demanded_on[now] - demand, seats.demanded_on[target]
    wins["waiting"] = WAITING * (
        max(0.0, left + demand - 1) - max(0.0, left - 1) - max(0.0, taken + demand - 1) + max(0.0, taken - 1)
    )
    wins["even"] = 2 * entitled * (seats.entitled_on[now] - entitled - seats.entitled_on[target])
    wins["core"] = 2 * entitled * SIBLING * (_beside(seats, now) - _beside(seats, target, vcpu))
    source, to = seats.cpus[now], seats.cpus[target]
    match max(wins, key=wins.__getitem__):
        case "waiting":
            return (
                f"CPU {source.id} is asked for {seats.demanded_on[now]:.0%} of its time, and of CPU {to.id}'s "
                f"{max(0.0, 1 - taken):.0%} are free"
            )
        case "core":
            return f"the core of CPU {source.id} works for another vCPU as well, that of CPU {to.id} has more time"
        case "memory":
            return f"its memory is nearer to CPU {to.id} on node {to.node} than to CPU {source.id}"
        case "soft":
            return f"it would rather run on CPU {to.id}, which has time now, than on CPU {source.id}"
        case "others":
            return f"the guest's other vCPUs are nearer to CPU {to.id} than to CPU {source.id}"
        case "slower":
            return f"CPU {to.id} is faster than CPU {source.id}"
    return (
        f"on CPU {source.id} {seats.entitled_on[now]:.0%} of its time are spoken for, on CPU {to.id} "
        f"{seats.entitled_on[target]:.0%}"
    )


def _beside(seats: Seats, at: int, without: int | None = None) -> float:
    """What the other threads of a core carry."""
    now = seats.at[without] if without is not None else None
    return sum(seats.entitled_on[other] for other in seats.siblings[at]) - (
        seats.entitled[without] if without is not None and now in seats.siblings[at] else 0.0
    )


def why_forced(seats: Seats, vcpu: int) -> tuple[int | None, str]:
    """Where it was, and why it can't stay there."""
    load = seats.load
    guest = load.guests[seats.guest[vcpu]]
    was = guest.vcpus[seats.number[vcpu]]
    if was.cpu is None:
        return None, "it had no CPU yet"
    if was.cpu not in seats.place:
        return was.cpu, f"CPU {was.cpu} is offline"
    if was.hard is not None and was.cpu not in was.hard:
        return was.cpu, f"CPU {was.cpu} is not among those that it is pinned to"
    if was.cpu in load.reserved:
        return was.cpu, f"CPU {was.cpu} is kept for Domain-0"
    return was.cpu, f"CPU {was.cpu} is not in its pool {guest.pool}"


def why_impossible(seats: Seats, vcpu: int) -> Impossible:
    load = seats.load
    guest, number = load.guests[seats.guest[vcpu]], seats.number[vcpu]
    hard = guest.vcpus[number].hard
    anywhere = seats.may(None, guest.pool)
    of_pool = list_text(seats.cpus[at].id for at in anywhere)
    if not anywhere:
        return Impossible(
            guest.name,
            number,
            f"pool {guest.pool} has no CPU that is online and not kept for Domain-0",
            "give the pool a CPU, or the domain another pool",
        )
    assert hard is not None
    pinned, free = f"it is pinned to the CPUs {list_text(hard) or 'none'}", load.topology.online & hard
    hint = f"pin it to some of {of_pool}, which its pool {guest.pool} has"
    if not free:
        return Impossible(guest.name, number, f"{pinned}, and none of them is online", hint)
    if free <= load.reserved:
        return Impossible(guest.name, number, f"{pinned}, which are kept for Domain-0", hint)
    return Impossible(guest.name, number, f"{pinned}, and pool {guest.pool} has none of them", hint)
