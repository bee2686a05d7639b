"""Other hosts that this one knows: what the store says, held in memory, told to the adapter with each change."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING

from wirt.config.addresses import parse_address
from wirt.model.errors import BadInput, NameInUse, NotFound, StoreConflict, Unavailable
from wirt.model.peer import Certificate, KnownPeer
from wirt.operations import records_peers as records
from wirt.ports.peers import Peers
from wirt.ports.store import Compare, Delete, Put, Store

if TYPE_CHECKING:
    from wirt.operations.environment import Environment

EVENT = "peer"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


class KnownPeers:
    def __init__(self, store: Store, peers: Peers | None) -> None:
        self._store = store
        self._peers = peers
        self._by_name: dict[str, KnownPeer] = {}
        self.lock = asyncio.Lock()
        """Held by whoever changes them."""

    async def load(self) -> None:
        """Read everything anew. ``CorruptState`` names the first record that can't be understood."""
        entries = (await self._store.list(records.PEERS)).entries
        self._by_name = {peer.name: peer for peer in map(records.read_peer, entries)}
        self._tell()

    def __iter__(self) -> Iterator[KnownPeer]:
        """By name."""
        return iter([self._by_name[name] for name in sorted(self._by_name)])

    def get(self, name: str) -> KnownPeer | None:
        return self._by_name.get(name)

    def find(self, name: str) -> KnownPeer:
        """``NotFound`` names those that are nearly called so."""
        peer = self._by_name.get(name)
        if peer is None:
            close = get_close_matches(name, self._by_name, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(close)}?" if close else "wirt peer list shows all"
            raise NotFound(f"there is no peer {name}", hint=hint)
        return peer

    async def put(self, peer: KnownPeer) -> None:
        """A new one. ``NameInUse``."""
        key = records.peer_key(peer.name)
        try:
            await self._store.commit(Put(key, records.write_peer(peer)), when=(Compare(key, 0),))
        except StoreConflict as error:
            raise _taken(peer.name) from error
        self._by_name[peer.name] = peer
        self._tell()

    async def remove(self, peer: KnownPeer) -> None:
        await self._store.commit(Delete(records.peer_key(peer.name)))
        self._by_name.pop(peer.name, None)
        self._tell()

    def _tell(self) -> None:
        if self._peers is not None:
            self._peers.know(tuple(self))


async def add(environment: Environment, name: str, address: str, certificate: str) -> KnownPeer:
    """``BadInput``: a name, address or certificate that can't be, or this host's own. ``NameInUse``: it is known
    already, by this name or another."""
    if not _NAME.match(name):
        raise BadInput(
            f"{name[:80]!r} can't be a peer's name",
            hint="letters, digits, '.', '_' and '-', at most 63, and a letter or digit first",
        )
    adapter, known = _adapter(environment), environment.known_peers
    found = KnownPeer(name, parse_address(address), adapter.examine(certificate))
    if found.certificate.fingerprint == (await adapter.identity()).fingerprint:
        raise BadInput("this is this host's own certificate", hint="take the other host's: wirt peer certificate")
    async with known.lock:
        if known.get(name) is not None:
            raise _taken(name)
        for peer in known:
            if peer.certificate.fingerprint == found.certificate.fingerprint:
                raise NameInUse(
                    f"this certificate is that of the peer {peer.name} already",
                    hint=f"wirt peer remove {peer.name}",
                )
        await known.put(found)
    environment.bus.publish(EVENT, None, None, {"name": name, "what": "added", "address": str(found.address)})
    return found


async def remove(environment: Environment, name: str) -> None:
    """``NotFound``. What that host has asked for already is finished; it can ask no more."""
    known = environment.known_peers
    async with known.lock:
        await known.remove(known.find(name))
    environment.bus.publish(EVENT, None, None, {"name": name, "what": "removed"})


async def own(environment: Environment) -> Certificate:
    """This host's certificate."""
    return await _adapter(environment).identity()


def _adapter(environment: Environment) -> Peers:
    if environment.peers is None:
        raise Unavailable("this host talks to no others")
    return environment.peers


def _taken(name: str) -> NameInUse:
    return NameInUse(f"there is a peer {name} already", hint=f"choose another name, or: wirt peer remove {name}")
