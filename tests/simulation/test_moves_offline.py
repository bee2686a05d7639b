"""A domain is moved to and fro by shutting it down, while daemons and the line between the hosts die at random
moments. It is always on exactly one host, never runs twice, and its disk is whole."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.operations.moves_kit import TwoHosts, die_and_come_again, mend, wait

from wirt.model.errors import WirtError
from wirt.model.lifecycle import State
from wirt.model.storage import VolumeRef
from wirt.operations.create import Source, create, define
from wirt.operations.migrate import MoveWish, migrate
from wirt.operations.start import start
from wirt.operations.volumes import create as create_volume
from wirt.peers.fake import Kind
from wirt.ports.memory_blocks import MemoryDisk

CONFIG = 'name = "web"\ntype = "pvh"\nkernel = "/boot/vmlinuz"\nmemory = 128\ndisk = ["default/web,,xvda,rw"]\n'
CONTENT = b"what is on it"
ROUNDS = 4
CALLS = ("terms", "turn", "incoming", "leave", "leave", "abort", "receipt", "")
FAULTS = (Kind.LOST_BEFORE, Kind.LOST_AFTER, Kind.CUT_BEFORE, Kind.CUT_AFTER)


class Simulation:
    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.along = self.random.random() < 0.5
        self.transient = self.random.random() < 0.5
        self.hosts = TwoHosts(directory, seed, shared=not self.along)

    async def run(self) -> None:
        hosts = self.hosts
        for name in hosts.hosts:
            await hosts.boot(name)
        a = hosts.a
        await a.engine.wait((await create_volume(a.environment, VolumeRef("default", "web"), 1 << 20)).id)
        volume = await a.environment.pools.volume(VolumeRef("default", "web"))
        a.contents[volume.path] = MemoryDisk(volume.size)
        a.contents[volume.path].write(8192, CONTENT)
        source = Source(CONFIG, "web.cfg", "/cfg")
        if self.transient:
            await a.engine.wait((await create(a.environment, source)).id)
        else:
            await define(a.environment, source)
        for _ in range(ROUNDS):
            await self._move_with_trouble()
            await mend(self.hosts)
            await self._check()
            await self._toggle()

    async def _move_with_trouble(self) -> None:
        here = self._where()
        there = "b" if here == "a" else "a"
        for _ in range(self.random.randint(0, 2)):
            self._lose()
        wish = MoveWish(there, offline=True, timeout_s=20.0, with_storage=self.along)
        try:
            await migrate(self.hosts.hosts[here].environment, "web", wish)
        except WirtError:
            return  # it is told so, and nothing has begun
        for _ in range(self.random.randint(0, 3)):
            await wait(self.hosts, self.random.choice((0.01, 0.1, 0.6, 1.2, 3.0)) * self.random.random())
            await self._trouble()

    def _lose(self) -> None:
        call, times = self.random.choice(CALLS), self.random.randint(1, 3)
        self.hosts.links.inject(self.random.choice(FAULTS), path=call, times=times)

    async def _trouble(self) -> None:
        kind = self.random.randrange(4)
        if kind == 0:
            name = self.random.choice(("a", "b"))
            await die_and_come_again(self.hosts, name, self.random.random() * 3)
        elif kind == 1:
            self.hosts.links.cut("a", "b")
        elif kind == 2:
            self.hosts.links.mend("a", "b")
        else:
            self._lose()

    async def _check(self) -> None:
        host = self.hosts.hosts[self._where()]
        domain = host.environment.domains.find("web")
        runs = [domain.uuid] if domain.state is State.RUNNING else []
        for each in self.hosts.hosts.values():
            assert each.live_guests() == (runs if each is host else [])
        assert not host.environment.pools.holders.of(VolumeRef("default", "web")) or runs
        volume = await host.environment.pools.volume(VolumeRef("default", "web"))
        if self.along:
            assert bytes(host.contents[volume.path].content[8192 : 8192 + len(CONTENT)]) == CONTENT
        assert not any(medium.proofs for medium in host.storage.media.values())

    async def _toggle(self) -> None:
        """It is off next time, or runs; a start that a dying daemon took back is made good."""
        host = self.hosts.hosts[self._where()]
        if host.environment.domains.find("web").incarnation is None and (
            self.transient or self.random.random() < 0.5
        ):
            await host.engine.wait((await start(host.environment, "web")).id)

    def _where(self) -> str:
        (name,) = [name for name, host in self.hosts.hosts.items() if host.environment.domains.named("web")]
        return name


@pytest.mark.parametrize("seed", range(25))
async def test_a_domain_that_is_shut_down_to_move_is_always_on_one_host_only(tmp_path: Path, seed: int) -> None:
    await Simulation(tmp_path, seed).run()
