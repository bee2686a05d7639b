"""How the store keeps what is known of layers: the content of volumes that guests' disks stand on, and which of
them came along with a domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wirt.model.storage import VolumeRef
from wirt.operations.records import PREFIX, read_record, write_record
from wirt.ports.layers import Content
from wirt.ports.store import Entry

LAYERS = f"{PREFIX}/layers/"


@dataclass(frozen=True, slots=True)
class KnownLayer:
    """``content``: as of ``stamp`` (:meth:`wirt.ports.storage.Storage.stamps`); ``None`` of one that is not whole
    yet. ``brought``: it came along with a domain, and goes once nothing stands on it."""

    content: Content | None
    stamp: str = ""
    brought: bool = False


def layer_key(ref: VolumeRef) -> str:
    return f"{LAYERS}{ref}"


def write_layer(layer: KnownLayer) -> bytes:
    content = layer.content
    return write_record(
        {
            "length": None if content is None else content.length,
            "digest": None if content is None else content.digest,
            "stamp": layer.stamp,
            "brought": layer.brought,
        }
    )


def read_layer(entry: Entry) -> KnownLayer:
    def build(data: dict[str, Any]) -> KnownLayer:
        content = None if data["digest"] is None else Content(int(data["length"]), str(data["digest"]))
        return KnownLayer(content, str(data["stamp"]), bool(data["brought"]))

    return read_record(entry, build)
