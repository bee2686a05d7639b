"""How the store writes down other hosts."""

from __future__ import annotations

import json
from dataclasses import asdict

from wirt.model.errors import CorruptState
from wirt.model.peer import Address, Certificate, KnownPeer
from wirt.operations.records import PREFIX
from wirt.ports.store import Entry

PEERS = f"{PREFIX}/peers/"
VERSION = 1


def peer_key(name: str) -> str:
    return f"{PEERS}{name}"


def write_peer(peer: KnownPeer) -> bytes:
    return json.dumps({"version": VERSION, **asdict(peer)}).encode()


def read_peer(entry: Entry) -> KnownPeer:
    try:
        said = json.loads(entry.value)
        if said["version"] != VERSION:
            raise ValueError(f"version {said['version']}")
        address, known = said["address"], said["certificate"]
        return KnownPeer(
            name=str(said["name"]),
            address=Address(str(address["host"]), int(address["port"])),
            certificate=Certificate(
                pem=str(known["pem"]),
                name=str(known["name"]),
                fingerprint=str(known["fingerprint"]),
                not_before=float(known["not_before"]),
                not_after=float(known["not_after"]),
            ),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptState(f"the record {entry.key} can't be read: {error}") from error
