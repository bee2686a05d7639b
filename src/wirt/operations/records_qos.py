"""How classes of service are written down: one record each, for the host that knows them, in the words that they
are defined with."""

from __future__ import annotations

from typing import Any

from wirt.config.qos import read_class, words_of
from wirt.model.qos import QosClass
from wirt.operations.records import PREFIX, read_record, write_record
from wirt.ports.store import Entry


def classes_prefix(host: str) -> str:
    return f"{PREFIX}/qos-classes/{host}/"


def class_key(host: str, name: str) -> str:
    return f"{classes_prefix(host)}{name}"


def write_class(qos: QosClass) -> bytes:
    return write_record({"name": qos.name, "words": words_of(qos)})


def read_class_record(entry: Entry) -> QosClass:
    def build(data: dict[str, Any]) -> QosClass:
        return read_class(str(data["name"]), {str(word): str(text) for word, text in data["words"].items()})

    return read_record(entry, build)
