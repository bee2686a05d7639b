"""A guest is moved to and fro while daemons, guests and the line between the hosts die at random moments. It never
runs twice, and never gets lost by the move: only who kills it ends it."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest
from tests.operations.kit import SimulatedHost
from tests.operations.moves_kit import TwoHosts, die_and_come_again, mend, wait

from wirt.hypervisors.fake.faults import Verb
from wirt.hypervisors.fake.guest import FakeGuest
from wirt.model.domain import Domain
from wirt.model.errors import WirtError
from wirt.model.lifecycle import State
from wirt.model.migration import Outcome
from wirt.model.storage import VolumeRef
from wirt.operations.create import Source, create
from wirt.operations.migrate import MoveWish, migrate
from wirt.operations.moving import move_of
from wirt.operations.volumes import create as create_volume
from wirt.peers.fake import Kind

CONFIG = 'name = "web"\ntype = "pvh"\nkernel = "/boot/vmlinuz"\nmemory = 128\ndisk = ["default/web,,xvda,rw"]\n'
LAYERS = ("base", "middle", "web")
ROUNDS = 4
CALLS = ("terms", "incoming", "leave", "abort", "receipt", "")
FAULTS = (Kind.LOST_BEFORE, Kind.LOST_AFTER, Kind.CUT_BEFORE, Kind.CUT_AFTER)


class Simulation:
    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.shared = self.random.random() < 0.5
        self.chain = self.random.random() < 0.7
        self.hosts = TwoHosts(directory, seed, shared=self.shared)
        self.killed = False

    async def run(self) -> None:
        hosts = self.hosts
        for name in hosts.hosts:
            await hosts.boot(name)
        await self._make_disk()
        await done(hosts.a, await create(hosts.a.environment, Source(CONFIG, "web.cfg", "/cfg")))
        self._guest().memory = b"mine"
        for _ in range(ROUNDS):
            await self._move_with_trouble()
            await mend(self.hosts)
            self._check()
            if self.killed:
                return

    async def _make_disk(self) -> None:
        """Of its own, or on layers, which each host holds as long as the guest is there."""
        environment = self.hosts.a.environment
        await done(self.hosts.a, await create_volume(environment, VolumeRef("default", LAYERS[0]), 1 << 20))
        pool = await environment.pools.open("default")
        for below, name in pairwise(LAYERS if self.chain else ()):
            (medium,) = self.hosts.a.storage.media.values()
            medium.data[medium.volumes[below].path] = {below: 1}
            await pool.clone(below, name)
        if not self.chain:
            await pool.rename(LAYERS[0], "web")

    async def _move_with_trouble(self) -> None:
        here = self._where()[0]
        there = "b" if here == "a" else "a"
        self._lay_traps()
        try:
            await migrate(self.hosts.hosts[here].environment, "web", MoveWish(there, with_storage=not self.shared))
        except WirtError:
            return  # it is told so, and nothing has begun
        for _ in range(self.random.randint(0, 3)):
            await wait(self.hosts, self.random.choice((0.01, 0.03, 0.06, 0.1, 0.3, 2.0)) * self.random.random())
            await self._trouble(here, there)

    def _lay_traps(self) -> None:
        """Around the very moment in which the guest changes hands, which random times hit too seldom."""
        for host in self.hosts.hosts.values():
            for verb in (Verb.FINISH, Verb.RECEIVE, Verb.RESUME):
                host.world.latency_s[verb] = self.random.choice((0.0, 0.02, 0.3))
        if self.random.random() < 0.4:
            call = self.random.choice(("leave", "leave", "incoming", "receipt"))
            self._lose(call)
        if self.random.random() < 0.3:
            self._lose("abort", self.random.randint(1, 5))

    def _lose(self, call: str, times: int = 1) -> None:
        self.hosts.links.inject(self.random.choice(FAULTS), path=call, times=times)

    async def _trouble(self, here: str, there: str) -> None:
        hosts, kind = self.hosts, self.random.randrange(7)
        if kind == 0:
            await die_and_come_again(hosts, self.random.choice((here, there)), self.random.random() * 3)
        elif kind == 1:
            hosts.links.cut("a", "b")
        elif kind == 2:
            hosts.links.mend("a", "b")
        elif kind in (3, 4):
            self._lose(self.random.choice(CALLS), self.random.randint(1, 3))
        elif kind == 5:
            await self._kill_guest(there)
        elif kind == 6 and self.random.random() < 0.3:
            await self._kill_guest(here)

    async def _kill_guest(self, name: str) -> None:
        """And whether that may have been the one to go on."""
        host, killed = self.hosts.hosts[name], False
        for guest in host.world.guests():
            if not guest.gone:
                killed |= guest.observed.state is State.RUNNING or await self._owned(host, guest.domain)
                killed |= guest.travel is not None
                guest.vanish()
        self.killed |= killed

    async def _owned(self, host: SimulatedHost, uuid: UUID) -> bool:
        """Whether nothing but its own word keeps the run of ``host`` from going on: the source has left."""
        domain = host.environment.domains.get(uuid)
        move = move_of(domain) if domain is not None else None
        if move is None or move.leaves:
            return False
        if await host.environment.handovers.outcome(move.handover) is Outcome.OWNED:
            return True
        attempt = host.environment.incoming.get(move.handover)
        return attempt is not None and attempt.leave.is_set()

    def _check(self) -> None:
        where = self._where()
        if self.killed:
            assert len(where) <= 1, where
            return
        assert len(where) == 1, where
        domain = self._domain(where[0])
        assert domain.state is State.RUNNING
        assert self._guest().memory == b"mine"
        volumes = {
            name: list(v.volumes) for name, host in self.hosts.hosts.items() for v in host.storage.media.values()
        }
        assert "web" in volumes[where[0]]
        if self.chain:
            self._check_layers(where[0])

    def _check_layers(self, here: str) -> None:
        """The disk stands on what it stood on; what was brought is nowhere where nothing needs it."""
        (medium,) = self.hosts.hosts[here].storage.media.values()
        assert medium.seen(medium.volumes["web"]) == {"base": 1, "middle": 1}
        if not self.shared:
            there = {name for each in self.hosts.b.storage.media.values() for name in each.volumes}
            assert len(there - {"web"}) == (2 if "web" in there else 0), there

    def _where(self) -> list[str]:
        return [name for name, host in self.hosts.hosts.items() if host.environment.domains.named("web")]

    def _domain(self, name: str) -> Domain:
        return self.hosts.hosts[name].environment.domains.find("web")

    def _guest(self) -> FakeGuest:
        (name,) = self._where()
        return self.hosts.hosts[name].world.guest(self._domain(name).uuid)


async def done(host: SimulatedHost, job: object) -> None:
    await host.engine.wait(job.id)  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", range(40))
async def test_a_guest_that_moves_to_and_fro_is_always_on_one_host_only(tmp_path: Path, seed: int) -> None:
    await Simulation(tmp_path, seed).run()
