"""Whether a backup stands between a guest and its disks, for those who would change them."""

from __future__ import annotations

from uuid import UUID

from wirt.model.domain import Domain
from wirt.model.errors import ResourceBusy
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind


def under_way(environment: Environment, domain: UUID) -> bool:
    """Whether a backup has, or may have, its filters between this domain and its disks."""
    return any(
        job.kind == JobKind.BACKUP and not job.state.finished and job.arguments["domain"] == str(domain)
        for job in environment.jobs.all()
    )


def check_no_backup(environment: Environment, domain: Domain) -> None:
    if under_way(environment, domain.uuid):
        raise ResourceBusy(f"a backup of domain {domain.name} is under way", hint="wirt jobs shows how far it is")
