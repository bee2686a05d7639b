"""``mem-set``, ``mem-max`` and ``wirt memory plan``: what guests hold of the host's memory. All sizes in MiB.

A guest is started with ``maxmem`` and gives back at once what is more than ``memory``. So what it can have is
settled with its run, and what it has changes by its balloon; unless memory can be plugged in
(``hotplug_memory``): then ``maxmem`` can be raised by so much while it runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from wirt.config.xlcfg import with_value
from wirt.model.domain import Domain
from wirt.model.errors import BadInput, IllegalState, Shortage, WirtError
from wirt.model.job import Job, Recovery
from wirt.model.lifecycle import State
from wirt.model.memory import HugePages
from wirt.model.units import MIB
from wirt.operations.environment import Environment
from wirt.operations.given_memory import MERGE, huge_pages, noted
from wirt.operations.jobs.step import JobKind, Operation, Step
from wirt.operations.memory_grants import grant, size_of
from wirt.operations.rewritten import rewritten
from wirt.operations.running import EnvContext, domain_of
from wirt.operations.turns import promised_bytes
from wirt.plan.jail import OVERHEAD_MIB, VCPU_MIB
from wirt.plan.memory import GuestMemory, HostMemory, MemoryPlan, Proof, plan_memory
from wirt.plan.memory_huge import plan_huge
from wirt.plan.qos import guaranteed_mib
from wirt.plan.ram import LEAST_DIRECT_BOOT_MIB, LEAST_FIRMWARE_BOOT_MIB
from wirt.ports.balloons import Balloon

SPARE_MIB = 16
"""What a guest is left beyond what it uses, so that it need not kill a task to give the rest."""
WAIT_S, LOOK_S = 10.0, 0.1
TELL_S = 5.0
"""A guest that tells what it uses has told it within this."""


@dataclass(frozen=True, slots=True)
class Really:
    """Of one run: ``resident`` is what of the host's memory its QEMU has taken (``None`` if it was not counted
    yet); ``reporting``: the host is given what the guest frees. ``huge``: its memory lies in such pages, ``mib``
    in all. ``merging``: KSM may share it. ``hotplug``: so much more can be plugged in."""

    resident: int | None
    reporting: bool
    mib: int
    huge: HugePages | None = None
    merging: bool = False
    hotplug: int = 0


@dataclass(frozen=True, slots=True)
class Planned:
    """``really``: of each of ``guests``, what the host sees of it. ``huge``: who has the pages that are set aside,
    which no other sum has in it. ``merged``: what KSM saves now, which nothing counts on; ``None`` where it is
    off. ``untold``: why there are running domains that are not in ``guests``."""

    host: HostMemory
    guests: tuple[GuestMemory, ...]
    plan: MemoryPlan
    really: tuple[Really, ...]
    huge: tuple[Proof, ...]
    merged: int | None
    untold: tuple[str, ...]


async def set_memory(environment: Environment, ref: str, mib: int) -> Job:
    """Have a domain hold ``mib``: a guest that runs at once, by its balloon; one that is off from its next start.
    ``BadInput`` says what can be."""
    domain = environment.domains.find(ref)
    low, high, why = _least(environment, domain), domain.config.most_mib, ""
    if domain.incarnation is not None:
        balloon = await _balloon(environment, domain)
        high = min(high, balloon.top)
        if mib < balloon.actual and balloon.used is not None:
            floor = min(balloon.used + SPARE_MIB, balloon.actual)
            low, why = max(low, floor), f"; it uses {balloon.used} now"
        if low <= mib <= high:
            _check_plugs(domain, balloon, mib)
            check_room(environment, domain, mib - balloon.actual)
    if not low <= mib <= high:
        raise BadInput(
            f"memory of domain {domain.name} can be from {low} to {high} MiB, not {mib}{why}",
            hint=_raising(domain) if mib > high else None,
        )
    arguments = {"uuid": str(domain.uuid), "domid": domain.domid, "mib": mib}
    return await environment.jobs.submit(JobKind.MEM_SET, domain.name, arguments)


async def set_most(environment: Environment, ref: str, mib: int) -> Domain:
    """The most that a domain can have: of one which is off in its next runs, of one which runs as far as memory
    can be plugged in."""
    domain = environment.domains.find(ref)
    plugs = 0 if domain.incarnation is None else noted(domain.incarnation.notes).hotplug_mib
    if domain.incarnation is not None and not plugs:
        raise IllegalState(
            f"domain {domain.name} is {domain.state}, and what a guest can have at most is settled at its start",
            hint=f"wirt mem-set gives it up to {domain.config.most_mib} MiB now; for more, wirt shutdown "
            f"{domain.name} first (with hotplug_memory in its configuration that would not be needed)",
        )
    if domain.saved is not None:
        raise IllegalState(
            f"domain {domain.name} is saved, and goes on with the memory that it had",
            hint=f"wirt restore {domain.name} and shut it down first",
        )
    if environment.jobs.busy(domain.uuid):
        raise IllegalState(f"a job of domain {domain.name} is under way", hint="wirt jobs shows it")
    facts = environment.host_facts()
    low, high = domain.config.memory_mib, (facts.memory_bytes - facts.reserve_bytes) // MIB
    if plugs:
        began = size_of(domain)
        low, high = max(low, began), min(high, began + plugs)
    if not low <= mib <= high:
        raise BadInput(
            f"the most memory of domain {domain.name} can be from {low} to {high} MiB, not {mib}",
            hint=_lowering(domain, low) if mib < low else None,
        )
    changed = await _write(environment, domain, domain.config.memory_mib, mib)
    environment.tell(changed, change="mem-max")
    return changed


async def planned(environment: Environment) -> Planned:
    """What there is, who has it, and that it fits. Nothing is done."""
    guests, really, untold = [], [], []
    for domain in environment.domains:
        if domain.state not in (State.RUNNING, State.PAUSED):
            continue
        try:
            balloon = await environment.hypervisor.balloons.look(domain.uuid)
        except WirtError as error:
            untold.append(f"domain {domain.name}: {error.message}")
        else:
            really.append(_really(environment, domain, balloon))
            known = environment.qos_classes.of(domain)
            guests.append(_guest(known, balloon, huge=really[-1].huge is not None))
    facts = environment.host_facts()
    promised = promised_bytes(environment, UUID(int=0))
    available = max(0, facts.memory_available_bytes - facts.reserve_bytes - promised) // MIB
    host = HostMemory(facts.memory_bytes // MIB, facts.reserve_bytes // MIB, available)
    in_pages = {of.name: (each.huge, each.mib) for of, each in zip(guests, really, strict=True) if each.huge}
    huge = tuple(plan_huge(facts.huge, in_pages))
    merging = environment.host_memory.merging() if environment.host_memory is not None else None
    merged = merging.sharing * merging.page_bytes // MIB if merging is not None and merging.on else None
    return Planned(host, tuple(guests), plan_memory(host, guests), tuple(really), huge, merged, tuple(untold))


def _really(environment: Environment, domain: Domain, balloon: Balloon) -> Really:
    counted = environment.accounting.last(domain.uuid)
    resident = counted.count.resident_bytes // MIB if counted is not None else 0
    notes = domain.incarnation.notes if domain.incarnation is not None else {}
    merging = notes.get(MERGE) == "on"
    return Really(
        resident=resident or None,
        reporting=noted(notes).reporting,
        mib=balloon.actual,
        huge=huge_pages(notes),
        merging=merging,
        hotplug=balloon.hotplug,
    )


def _guest(domain: Domain, balloon: Balloon, *, huge: bool) -> GuestMemory:
    """``huge``: of the memory that the sums are about, only its QEMU has some."""
    config = domain.config
    overhead = OVERHEAD_MIB + (config.maxvcpus or config.vcpus) * VCPU_MIB
    if huge:
        return GuestMemory(domain.name, 0, 0, 0, 0, overhead, balloon=False)
    return GuestMemory(
        name=domain.name,
        has=balloon.actual,
        most=max(balloon.most, min(config.memory_mib, balloon.top)),
        guaranteed=guaranteed_mib(config),
        wished=config.memory_mib,
        overhead=overhead,
        used=balloon.used if balloon.driver else None,
        balloon=balloon.driver,
    )


def _raising(domain: Domain) -> str:
    run = domain.incarnation
    now = run is None or noted(run.notes).hotplug_mib > 0
    return f"wirt mem-max {domain.name} raises the most" + ("" if now else ", while it is off")


def _lowering(domain: Domain, low: int) -> str:
    if low > domain.config.memory_mib:
        return f"the guest was started with {low}: wirt shutdown {domain.name} first"
    return f"its memory is {low}: wirt mem-set lowers that"


def _check_plugs(domain: Domain, balloon: Balloon, mib: int) -> None:
    if mib > balloon.most and not balloon.plugs:
        raise IllegalState(
            f"the guest of domain {domain.name} has no driver for memory that is plugged in at work, and can have "
            f"{balloon.most} MiB",
            hint="load virtio_mem in it (Linux since 5.8), or wait until it has booted",
        )


def _least(environment: Environment, domain: Domain) -> int:
    """What it boots with, and what it or its class of service guarantees."""
    boots = LEAST_FIRMWARE_BOOT_MIB if domain.config.kernel is None else LEAST_DIRECT_BOOT_MIB
    return max(boots, environment.qos_classes.effective(domain.config).memory_guarantee_mib or 0)


async def _balloon(environment: Environment, domain: Domain) -> Balloon:
    """Of a guest whose memory can change now."""
    if domain.state is not State.RUNNING:
        paused = domain.state is State.PAUSED
        raise IllegalState(
            f"domain {domain.name} is {domain.state}, and only a guest that runs gives memory",
            hint=f"wirt unpause {domain.name}" if paused else f"wirt destroy {domain.name} ends it",
        )
    pages = huge_pages(domain.incarnation.notes) if domain.incarnation is not None else None
    if pages is not None:
        raise IllegalState(
            f"the memory of domain {domain.name} lies in huge pages of {pages}, which are the guest's for good",
            hint="change it while the domain is off",
        )
    clock = environment.clock
    until = clock.monotonic() + TELL_S
    while True:
        balloon = await environment.hypervisor.balloons.look(domain.uuid)
        if not balloon.driver:
            raise IllegalState(
                f"the guest of domain {domain.name} has no balloon driver at work, and holds all of its "
                f"{balloon.actual} MiB",
                hint="load virtio_balloon in it, wait until it has booted, or change its memory while it is off",
            )
        if balloon.available is not None or clock.monotonic() >= until:
            return balloon
        await clock.sleep(1.0)


def check_room(environment: Environment, domain: Domain, more: int) -> None:
    """The host must not swap for it."""
    facts = environment.host_facts()
    free = facts.memory_available_bytes - facts.reserve_bytes - promised_bytes(environment, domain.uuid)
    if more * MIB > max(0, free):
        raise Shortage(
            f"domain {domain.name} would take {more} MiB more, and {max(0, free) // MIB} MiB are free",
            hint="wirt memory plan shows who has what; lower another domain's memory, or shut one down",
        )


async def _ask(context: EnvContext) -> None:
    """The guest gives in its own time: if it has not within a while, it is told how far it came, and goes on."""
    environment, domain, mib = context.environment, domain_of(context), context.job.arguments["mib"]
    if domain.domid != context.job.arguments["domid"]:
        raise IllegalState(f"domain {domain.name} is {domain.state} by now", hint="look at it, and ask again")
    result = {"name": domain.name, "memory_mib": mib, "actual_mib": None}
    if domain.incarnation is not None:
        await grant(environment, domain, mib)
        result["actual_mib"] = await _reached(environment, domain, mib)
    await context.note(result=result)


async def _reached(environment: Environment, domain: Domain, mib: int) -> int:
    until = environment.clock.monotonic() + WAIT_S
    while True:
        balloon = await environment.hypervisor.balloons.look(domain.uuid)
        if balloon.actual == mib or environment.clock.monotonic() >= until:
            return balloon.actual
        await environment.clock.sleep(LOOK_S)


async def _ask_as_before(context: EnvContext) -> None:
    domain = domain_of(context)
    if domain.incarnation is not None and domain.domid == context.job.arguments["domid"]:
        await grant(context.environment, domain, domain.config.memory_mib)


async def _record(context: EnvContext) -> None:
    environment, domain = context.environment, domain_of(context)
    if "before" not in context.job.notes:
        await context.note(before=domain.config.memory_mib)
    changed = await _write(environment, domain, context.job.arguments["mib"], domain.config.most_mib)
    environment.tell(changed, change="mem-set")


async def _record_as_before(context: EnvContext) -> None:
    before = context.job.notes.get("before")
    if before is not None:
        domain = domain_of(context)
        await _write(context.environment, domain, before, domain.config.most_mib)


async def _write(environment: Environment, domain: Domain, memory: int, most: int) -> Domain:
    text = with_value(with_value(domain.text, "memory", memory), "maxmem", most)
    meant = replace(domain.config, memory_mib=memory, maxmem_mib=most)
    made = rewritten(domain, text, meant, "the memory")
    return await environment.domains.change(domain.uuid, config=made.config, text=made.text)


MEM_SET = Operation(
    JobKind.MEM_SET,
    (Step("balloon", _ask, _ask_as_before, interruptible=True), Step("record", _record, _record_as_before)),
    recovery=Recovery.FINISH,
)
