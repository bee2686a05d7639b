"""A backup's manifest: JSON with a checksum of its own, read strictly, since it may lie on anyone's server.

Version 2 says what the disks are like (``consistency``). Those of version 1 are read too, and don't say it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any
from uuid import UUID

from wirt.model.errors import BadInput, CorruptState
from wirt.plan.backup import MOST_DISK_BYTES, Backup, Consistency, DiskBackup, Kind, check_id

FORMAT, VERSION = "wirt-backup", 2
KNOWN = (1, 2)
MOST_BYTES = 4 * 1024 * 1024
MOST_DISKS = 64
_WORDS = 4096


def write(backup: Backup) -> bytes:
    body = {"format": FORMAT, "version": VERSION, **asdict(backup)}
    return json.dumps({**body, "sha256": _sum(body)}, indent=1, ensure_ascii=True).encode() + b"\n"


def read(data: bytes, what: str) -> Backup:
    """``CorruptState`` names ``what`` and says what is wrong with it."""
    try:
        body = json.loads(data)
        if not isinstance(body, dict) or body.pop("format", None) != FORMAT:
            raise CorruptState(f"{what} is no manifest of a backup")
        version = body.pop("version", None)
        if version not in KNOWN or isinstance(version, bool):
            raise CorruptState(
                f"{what} is of version {version}; this wirt knows {VERSION}", hint="use a newer wirt"
            )
        said = body.pop("sha256", None)
        if said != _sum({"format": FORMAT, "version": version, **body}):
            raise CorruptState(f"{what} is damaged: its checksum is another")
        return _backup(body, None if version == 1 else body["consistency"])
    except (ValueError, KeyError, TypeError, RecursionError, BadInput) as error:
        raise CorruptState(f"{what} can't be understood: {error}") from error


def _sum(body: dict[str, Any]) -> str:
    plain = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(plain.encode()).hexdigest()


def _backup(body: dict[str, Any], consistency: str | None) -> Backup:
    disks = body["disks"]
    if not isinstance(disks, list) or len(disks) > MOST_DISKS:
        raise ValueError("its disks are no list")
    backup = Backup(
        id=_word(body, "id"),
        domain=_word(body, "domain"),
        uuid=str(UUID(_word(body, "uuid"))),
        host=_word(body, "host"),
        created_at=_time(body["created_at"]),
        hypervisor=_word(body, "hypervisor"),
        state=_word(body, "state"),
        config=_word(body, "config", most=MOST_BYTES),
        parent=None if body["parent"] is None else _word(body, "parent"),
        reason=_word(body, "reason"),
        disks=tuple(_disk(each) for each in disks),
        consistency=None if consistency is None else Consistency(consistency),
    )
    check_id(backup.id)
    if len({disk.vdev for disk in backup.disks}) != len(backup.disks):
        raise ValueError("it has a disk twice")
    return backup


def _disk(body: dict[str, Any]) -> DiskBackup:
    index = _word(body, "index")
    if len(bytes.fromhex(index)) != hashlib.sha256().digest_size:
        raise ValueError("an index that is no hash")
    return DiskBackup(
        vdev=_word(body, "vdev", most=16),
        size=_number(body, "size", least=1),
        format=_word(body, "format"),
        kind=Kind(_word(body, "kind")),
        index=index,
        moved=_number(body, "moved"),
        changed=_number(body, "changed"),
        stored=_number(body, "stored"),
    )


def _word(body: dict[str, Any], name: str, *, most: int = _WORDS) -> str:
    word = body[name]
    if not isinstance(word, str) or len(word) > most:
        raise ValueError(f"{name} is no word")
    return word


def _number(body: dict[str, Any], name: str, *, least: int = 0) -> int:
    number = body[name]
    if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= MOST_DISK_BYTES:
        raise ValueError(f"{name} is no number that could be one")
    return number


def _time(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1 << 40:
        raise ValueError("created_at is no time")
    return float(value)
