"""Whether a domain is on its way between two hosts, for those who would change it meanwhile.

It is written down with the run before anything moves, and taken away when it is certain that the run stays: so a
guest of which nobody here knows whose it is can't be set going by mistake.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from wirt.model.domain import Domain
from wirt.model.errors import IllegalState
from wirt.operations.environment import Environment
from wirt.operations.running import MOVING


@dataclass(frozen=True, slots=True)
class Move:
    """``host`` is the other host's name. ``target``: of a run that leaves, how that is reached."""

    host: str
    handover: str
    target: str | None = None

    @property
    def leaves(self) -> bool:
        return self.target is not None


def move_of(domain: Domain) -> Move | None:
    note = domain.incarnation.notes.get(MOVING) if domain.incarnation is not None else None
    if note is None:
        return None
    host, _, rest = note.partition(" ")
    handover, _, target = rest.partition(" ")
    return Move(host, handover, target or None)


def settled(domain: Domain) -> Domain:
    """``domain``, if it is on no way. ``IllegalState`` says between which hosts it is."""
    move = move_of(domain)
    if move is None:
        return domain
    if not move.leaves:
        raise IllegalState(
            f"domain {domain.name} is coming from {move.host}", hint="wirt jobs shows how far it is"
        )
    raise IllegalState(
        f"domain {domain.name} is on its way to {move.host}",
        hint=f"wirt jobs shows how far it is; lost {move.host} for good? wirt migrate --take-back {domain.name}",
    )


async def set_out(environment: Environment, domain: Domain, move: Move) -> None:
    assert domain.incarnation is not None
    note = f"{move.host} {move.handover} {move.target}"
    notes = {**domain.incarnation.notes, MOVING: note}
    await environment.domains.start_run(replace(domain.incarnation, notes=notes))


async def stay(environment: Environment, uuid: UUID, domid: int) -> None:
    """The run belongs here again, or now."""
    domain = environment.domains.get(uuid)
    if domain is None or domain.incarnation is None or domain.domid != domid:
        return
    notes = {key: value for key, value in domain.incarnation.notes.items() if key != MOVING}
    if notes != domain.incarnation.notes:
        await environment.domains.start_run(replace(domain.incarnation, notes=notes))
