"""What of guests' memory ``wirt info`` tells."""

from __future__ import annotations

from wirt.model.memory import HugeMemory, HugePages, Merging
from wirt.operations.environment import Environment


def about(environment: Environment) -> str:
    """How this host keeps the memory of guests that say nothing of it."""
    memory, settings = environment.host_memory, environment.settings
    said = [f"pages that guests free are {'given back' if settings.reporting else 'kept'}"]
    if memory is not None:
        said += [huge_words(memory.huge()), _merging_words(memory.merging(), wanted=settings.ksm)]
    return "; ".join(said)


def huge_words(huge: HugeMemory) -> str:
    named = {size.kib: str(size) for size in HugePages if size.kib is not None}
    pools = [
        f"{pool.left} of {pool.total} of {named.get(pool.kib, f'{pool.kib} KiB')}"
        for pool in huge.pools
        if pool.total
    ]
    return f"huge pages: transparent {huge.transparent or 'never'}, left of those set aside: " + (
        ", ".join(pools) or "none"
    )


def _merging_words(merging: Merging | None, *, wanted: bool) -> str:
    if merging is None:
        return "this kernel has no KSM"
    if not wanted:
        return "KSM is off for guests" + (", though somebody has it on" if merging.on else "")
    if not merging.on:
        return "KSM is wanted, and the kernel's is off"
    return (
        f"KSM is on ({merging.scan} pages, then {merging.sleep_ms} ms of rest), so that a guest can find out what "
        "others have in their memory"
    )
