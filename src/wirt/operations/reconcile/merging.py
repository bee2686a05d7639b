"""Whether the kernel merges what guests have alike (``ksm`` in wirt.toml).

It is turned on where that says so, and off again only where a wirtd turned it on, which is written down before:
it may be somebody else's.
"""

from __future__ import annotations

import structlog

from wirt.model.errors import Unavailable
from wirt.operations.environment import Environment
from wirt.operations.records import PREFIX
from wirt.ports.store import Delete, Put

log = structlog.get_logger()


def merging_key(host: str) -> str:
    return f"{PREFIX}/hosts/{host}/merging"


async def settle_merging(environment: Environment) -> None:
    """At a daemon's start. A kernel that refuses is told of: guests run all the same."""
    settings, memory = environment.settings, environment.host_memory
    if memory is None:
        return
    key = merging_key(environment.machine.name)
    ours, now = await environment.store.get(key) is not None, memory.merging()
    turn_on = settings.ksm and not ours and not (now is not None and now.on)
    if turn_on:
        await environment.store.commit(Put(key, b"on"))
    keep = settings.ksm
    try:
        if settings.ksm:
            memory.merge(on=True, scan=settings.ksm_pages, sleep_ms=settings.ksm_sleep_ms)
        elif ours:
            memory.merge(on=False)
    except Unavailable as error:
        log.warning("whether guests' pages are merged could not be changed", error=str(error))
        keep = ours
    if (ours or turn_on) and not keep:
        await environment.store.commit(Delete(key))
