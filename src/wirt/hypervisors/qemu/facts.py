"""All that is found out about this host's QEMU, each part of it once per boot."""

from __future__ import annotations

from pathlib import Path

from wirt.hypervisors.qemu import cpus, probe, rings
from wirt.plan.host import HypervisorFacts
from wirt.ports.sandbox import Sandbox


async def find(binary: str, sandbox: Sandbox, cache: Path) -> HypervisorFacts:
    """``cache`` keeps the probe's answer, files beside it the others'. ``Unavailable`` if ``binary`` is no QEMU
    that wirt can use."""
    found = await probe.find_facts(binary, cache)
    found = await rings.with_engines(found, binary, sandbox, cache.with_name("engines.json"))
    return await cpus.with_cpu(found, binary, cache.with_name("cpus.json"))
