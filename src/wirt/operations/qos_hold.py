"""A domain that runs held to its class of service: shares, disks, cards, and the memory that it is guaranteed.

All of it can be done again: what is written down is laid on, whatever was so before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from wirt.model.domain import Domain
from wirt.model.errors import WirtError
from wirt.model.lifecycle import State
from wirt.operations.disk_qos import hold_disks
from wirt.operations.environment import Environment
from wirt.operations.memory import check_room
from wirt.operations.memory_grants import grant
from wirt.operations.moving import settled
from wirt.operations.scheduling import is_held, lay
from wirt.operations.vif_rate import hold_cards


@dataclass(frozen=True, slots=True)
class NotHeld:
    """A domain that could not be changed, and why."""

    domain: str
    why: str


async def hold_all(environment: Environment, domains: Sequence[Domain]) -> tuple[NotHeld, ...]:
    """Each that runs; those that could not be changed, or not wholly. The others are held all the same."""
    running = [domain for domain in domains if is_held(domain)]
    failed: dict[UUID, list[str]] = {domain.uuid: [] for domain in running}
    await lay(environment)
    environment.networks.upkeep.news.set()  # whoever looks after networks lays on their weights
    for domain in running:
        problem = environment.scheduling.problems.get(domain.uuid)
        failed[domain.uuid] += [problem] if problem is not None else []
        try:
            await hold_devices(environment, domain.uuid)
        except WirtError as error:
            failed[domain.uuid].append(str(error))
    return tuple(NotHeld(domain.name, "; ".join(why)) for domain in running if (why := failed[domain.uuid]))


async def hold_one(environment: Environment, uuid: UUID) -> None:
    """``WirtError`` of the first part that could not be changed."""
    domain = environment.domains.get(uuid)
    if domain is not None and is_held(domain):
        await lay(environment, uuid)
        await hold_devices(environment, uuid)


async def hold_devices(environment: Environment, uuid: UUID) -> None:
    """Disks, cards and memory of a domain that runs; one that has ended meanwhile is no error. ``IllegalState`` of
    one that is on its way between hosts: where it goes on, that host's classes count."""
    async with environment.qos_classes.holding(uuid):
        domain = environment.domains.get(uuid)
        if domain is None or domain.incarnation is None:
            return
        settled(domain)
        await hold_disks(environment, uuid)
        await hold_cards(environment, uuid)
    await _hold_memory(environment, uuid)


async def _hold_memory(environment: Environment, uuid: UUID) -> None:
    """Give a guest that holds less than it is guaranteed the rest. ``Shortage`` if the host has not got it."""
    found = environment.domains.get(uuid)
    domain = None if found is None else environment.qos_classes.of(found)
    if domain is None or domain.state is not State.RUNNING or domain.config.memory_guarantee_mib is None:
        return
    balloon = await environment.hypervisor.balloons.look(uuid)
    wanted = min(domain.config.memory_guarantee_mib, balloon.most)
    if balloon.driver and balloon.actual < wanted:
        check_room(environment, domain, wanted - balloon.actual)
        await grant(environment, domain, wanted)
