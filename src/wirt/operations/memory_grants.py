"""What each run was granted of the host's memory: asked for by its balloon, and held to by its control group, in
an order in which no honest guest meets its limit (:mod:`wirt.plan.memory_limit`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from wirt.model.domain import Domain
from wirt.model.memory import plugged_for
from wirt.model.units import MIB
from wirt.operations import given_memory
from wirt.plan.jail import beside_mib
from wirt.plan.memory_limit import Past, limit_for

if TYPE_CHECKING:
    from wirt.operations.environment import Environment


@dataclass(slots=True)
class Grant:
    """Of the run with this domid. ``mib`` is ``None`` where an earlier daemon asked for it, or another host."""

    domid: int
    mib: int | None = None
    past: Past = field(default_factory=Past)
    told: str | None = None
    looked_at: float | None = None
    """When its guest was asked last (monotonic)."""


@dataclass(slots=True)
class Grants:
    _of: dict[UUID, Grant] = field(default_factory=dict)

    def of(self, domain: Domain) -> Grant:
        """That of its run of now."""
        assert domain.domid is not None
        kept = self._of.get(domain.uuid)
        if kept is None or kept.domid != domain.domid:
            kept = self._of[domain.uuid] = Grant(domain.domid)
        return kept

    def begin(self, domain: Domain, mib: int) -> None:
        """A guest that boots was asked to hold ``mib`` before its first instruction."""
        self.of(domain).mib = mib

    def forget(self, there: set[UUID]) -> None:
        """All but these."""
        self._of = {uuid: grant for uuid, grant in self._of.items() if uuid in there}


async def grant(environment: Environment, domain: Domain, mib: int) -> None:
    """Have a guest hold ``mib``: what it may take is raised before, and lowered by the loop once it was given.
    Errors of :meth:`~wirt.ports.balloons.Balloons.ask`; ``Unavailable`` if it can't be allowed more."""
    beside = await beside_of(environment, domain)
    raise_limit(environment, domain, limit_for(mib, most_of(domain, mib), beside))
    await environment.hypervisor.balloons.ask(domain.uuid, mib)
    environment.grants.of(domain).mib = mib


def raise_limit(environment: Environment, domain: Domain, mib: int) -> None:
    """Never down."""
    limits = environment.memory_limits
    if limits is None or domain.domid is None:
        return
    directory = environment.directory(domain.domid)
    use = limits.look(directory)
    if use is not None and use.limit_bytes is not None and use.limit_bytes < mib * MIB:
        limits.bound(directory, mib * MIB)


async def free_limit(environment: Environment, domain: Domain) -> None:
    """Before a guest boots again in the run that it has: until its driver is at work it may use all of its
    memory."""
    if domain.incarnation is not None:
        kept = environment.grants.of(domain)
        raise_limit(environment, domain, most_of(domain, kept.mib) + await beside_of(environment, domain))
        kept.past = Past()


def most_of(domain: Domain, granted: int | None) -> int:
    """What its run may take at most: what it was started with, and what is plugged in for that grant (``None``:
    for what its configuration says)."""
    size, wanted = size_of(domain), domain.config.memory_mib if granted is None else granted
    return size + plugged_for(wanted - size)


def why_ended(environment: Environment, domain: Domain, message: str) -> str:
    """``message`` of a run that is gone, and before it that the host's kernel ended it for its limit, if so."""
    limits = environment.memory_limits
    if limits is None or domain.domid is None:
        return message
    limit_bytes = limits.ended(environment.directory(domain.domid))
    if limit_bytes is None:
        return message
    why = f"it wanted more than the {limit_bytes // MIB} MiB that it may take of the host, whose kernel ended it"
    return f"{why}: {message}" if message else why


def size_of(domain: Domain) -> int:
    """What its run was started with."""
    given = given_memory.noted(domain.incarnation.notes) if domain.incarnation is not None else None
    return domain.config.most_mib if given is None or given.mib is None else given.mib


async def beside_of(environment: Environment, domain: Domain) -> int:
    facts = await environment.hypervisor.facts()
    return beside_mib(domain.config.maxvcpus or domain.config.vcpus, facts.accelerator)
