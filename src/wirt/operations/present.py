"""How many vCPUs the run of a guest has that is to go on elsewhere, or later.

Some may have been plugged in, and some of them the guest may not use (:mod:`wirt.operations.vcpus`): the
hypervisor alone knows. The number travels as :mod:`wirt.operations.given_memory` does: in the offer of a move,
with a snapshot, and in a saved guest's file.
"""

from __future__ import annotations

from wirt.model.domain import Domain
from wirt.operations.environment import Environment

VCPUS = "vcpus"
"""Among the notes of a job that keeps a guest's memory, and the arguments of one whose run goes on from there."""


async def vcpus_of_run(environment: Environment, domain: Domain) -> int:
    return await environment.hypervisor.vcpu_plugs.present(domain.uuid)
