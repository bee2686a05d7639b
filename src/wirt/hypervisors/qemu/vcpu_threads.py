"""The threads that QEMU runs vCPUs in, and where they may run (sched_setaffinity(2))."""

from __future__ import annotations

import os
from collections.abc import Mapping
from uuid import UUID

from wirt.hypervisors.qemu.driver import QemuHypervisor
from wirt.model.cpulists import list_text
from wirt.model.errors import Unavailable


class QemuVcpuThreads:
    """Of the guests of one driver."""

    def __init__(self, hypervisor: QemuHypervisor) -> None:
        self._hypervisor = hypervisor

    async def of(self, domain: UUID) -> Mapping[int, int]:
        return await self._hypervisor.run(domain).vcpu_threads()

    def affinity(self, thread: int) -> frozenset[int] | None:
        try:
            return frozenset(os.sched_getaffinity(thread))
        except ProcessLookupError:
            return None

    def pin(self, thread: int, cpus: frozenset[int]) -> None:
        try:
            if os.sched_getaffinity(thread) != cpus:
                os.sched_setaffinity(thread, cpus)
        except ProcessLookupError:
            return
        except OSError as error:
            raise Unavailable(
                f"a vCPU can't be kept to the CPUs {list_text(cpus)}: {error.strerror}",
                hint="are they online? wirt info -o json; and wirtd must be root, or run as its guests do",
            ) from error
