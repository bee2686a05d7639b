"""A disk's engine as QEMU's words: options of its block nodes and of its device."""

from __future__ import annotations

from wirt.model.engine import CacheMode
from wirt.plan.engine import DiskEngine

BUFFERED = {"direct": False, "no-flush": False}
"""For what others stand on, which is only read: many guests share it in the host's memory."""


def node_options(engine: DiskEngine) -> dict[str, object]:
    """Of the topmost node. Nodes below inherit its cache unless they say otherwise (qemu-block-drivers(7))."""
    return {
        "discard": "unmap" if engine.discard else "ignore",
        "detect-zeroes": str(engine.detect_zeroes),
        "cache": {"direct": engine.cache.direct, "no-flush": engine.cache is CacheMode.UNSAFE},
    }


def file_options(engine: DiskEngine) -> dict[str, object]:
    """Of the node that has the file or the device."""
    return {"aio": str(engine.aio)}


def device_options(engine: DiskEngine) -> str:
    queues = f",num-queues={engine.queues}" if engine.queues else ""
    thread = f",iothread={engine.iothread}" if engine.iothread is not None else ""
    lasting = ",write-cache=off" if engine.cache.lasting else ""
    return f"{queues}{thread}{lasting}"
