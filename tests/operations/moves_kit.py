"""Two hosts in memory, and a line between them that can be cut."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pydantic
import pytest
from tests.operations.kit import SimulatedHost, Strike, crash

from wirt.hypervisors.fake.images import ImageLocks
from wirt.model.errors import PeerUnreachable
from wirt.model.job import Job
from wirt.model.lifecycle import State
from wirt.model.migration import Forecast, Receipt
from wirt.operations import cpu, incoming
from wirt.operations.environment import Environment
from wirt.operations.jobs.engine import Hooks
from wirt.operations.turns import may_come
from wirt.peers.fake import FakeLinks, FakePeer, FakePeers
from wirt.ports.virtual_clock import VirtualClock
from wirt.storage.fake import FakeMedium
from wirt.wire.v1_incoming import ConsolePiece, Leave, Offer, Terms

_OFFER, _LEAVE = pydantic.TypeAdapter(Offer), pydantic.TypeAdapter(Leave)
_PIECE = pydantic.TypeAdapter(ConsolePiece)


class Life:
    """One daemon's. What it began says nothing more once that is over."""

    def __init__(self, peers: FakePeers) -> None:
        self.over = False
        self._peers = peers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._peers, name)

    async def reach(self, target: str) -> LivingPeer:
        self.check()
        return LivingPeer(self, await self._peers.reach(target))

    def check(self) -> None:
        if self.over:
            raise PeerUnreachable("this daemon is dead")


class LivingPeer:
    def __init__(self, life: Life, peer: FakePeer) -> None:
        self._life = life
        self._peer = peer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._peer, name)

    async def call(self, *words: Any, **more: Any) -> Any:
        self._life.check()
        answer = await self._peer.call(*words, **more)
        self._life.check()
        return answer


class TwoHosts:
    def __init__(self, directory: Path, seed: int = 1, *, shared: bool = True) -> None:
        """``shared``: both have the same default pool."""
        self.clock = VirtualClock()
        self.links = FakeLinks(self.clock)
        self.locks = ImageLocks()
        self._lives: dict[str, Life] = {}
        media: dict[str, FakeMedium] = {}
        self.a = self._host("a", directory, seed * 2, media if shared else None)
        self.b = self._host("b", directory, seed * 2 + 1, media if shared else None)
        self.hosts = {"a": self.a, "b": self.b}

    def _host(self, name: str, directory: Path, seed: int, media: dict[str, FakeMedium] | None) -> SimulatedHost:
        host = SimulatedHost(directory / name, seed, self.clock, media)
        host.machine.name = name
        if media is not None:
            host.world.images = self.locks
        return host

    async def boot(self, name: str, hooks: Hooks | None = None) -> None:
        host = self.hosts[name]
        self._lives[name] = host.peers = Life(self.links.host(name))
        await host.boot(hooks)
        self.links.serve(name, lambda method, path, body: serve(host, method, path, body))

    async def crash(self, name: str) -> None:
        """Of its daemon. What it was asked is never answered."""
        self.links.serve(name, None)
        self._lives[name].over = True
        crash = asyncio.create_task(self.hosts[name].crash())
        await until(self, crash.done)

    def jobs(self) -> list[tuple[str, Job]]:
        return [(name, job) for name, host in self.hosts.items() for job in host.engine.all()]

    def quiet(self) -> bool:
        return all(job.state.finished for _, job in self.jobs())

    def check_never_two(self) -> None:
        uuids = {guest.domain for host in self.hosts.values() for guest in host.world.guests()}
        for uuid in uuids:
            assert len(self.runs(uuid)) <= 1, f"{uuid} runs on {self.runs(uuid)}"

    def runs(self, uuid: UUID) -> list[str]:
        """The hosts on which a guest of that domain executes instructions."""
        return [
            name
            for name, host in self.hosts.items()
            for guest in host.world.guests()
            if guest.domain == uuid and guest.observed.state is State.RUNNING
        ]


async def serve(host: SimulatedHost, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
    """The routes of ``api/incoming.py``, without HTTP."""
    environment = host.environment
    path, _, query = path.partition("?")
    values = dict(pair.split("=", 1) for pair in query.split("&") if pair)
    if path == "/v1/cpu":
        return _plain(await cpu.offered(environment))
    rest = path.removeprefix("/v1/incoming").strip("/").split("/")
    if rest == ["terms"]:
        return _plain(await incoming.terms(environment, _offer(body)))
    if rest == [""]:
        return await incoming.prepare(environment, _offer(body), through_ssh=False)
    handover, *action = rest
    if action == ["turn"]:
        return _plain(may_come(environment, handover))
    if action == ["leave"]:
        return _plain(await incoming.give_leave(environment, handover, _LEAVE.validate_python(body)))
    if action == ["still"]:
        return await incoming.stands_still(environment, handover)
    if action == ["console"]:
        return await incoming.take_console(environment, handover, _PIECE.validate_python(body))
    if action == ["abort"]:
        return _plain(await incoming.abort(environment, handover))
    if action == ["receipt"]:
        assert body is not None
        forecast = Forecast(**body["forecast"]) if body["forecast"] else None
        return await incoming.close(environment, handover, Receipt(**{**body, "forecast": forecast}))
    return _plain(
        await incoming.standing(environment, handover, values.get("phase", ""), float(values.get("wait_s", 0)))
    )


def _offer(body: Mapping[str, Any] | None) -> Offer:
    return _OFFER.validate_python(body)


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value)


async def until(hosts: TwoHosts, done: Callable[[], bool], seconds: float = 600.0) -> None:
    """Let time go by until ``done``, looking all the time that no domain runs twice."""
    end = hosts.clock.monotonic() + seconds
    while not done():
        assert hosts.clock.monotonic() < end, "it takes for ever: " + str(
            [(name, job.kind, job.state, job.message) for name, job in hosts.jobs() if not job.state.finished]
        )
        await hosts.clock.advance(0.02)
        await threads_done()
        hosts.check_never_two()


async def threads_done() -> None:
    """What touches files does so in real time, and no virtual time goes by meanwhile."""
    while any(thread.name.startswith(("touches ", "wirt-work")) for thread in threading.enumerate()):
        await asyncio.sleep(0.0005)


async def until_later(hosts: TwoHosts, seconds: float) -> None:
    """The hosts' own loops have had their turn by then, and what these began has ended."""
    end = hosts.clock.monotonic() + seconds
    await until(hosts, lambda: hosts.clock.monotonic() >= end)
    await until(hosts, hosts.quiet)


async def wait(hosts: TwoHosts, seconds: float) -> None:
    """In small steps: whatever happens in between, no domain runs twice."""
    end = hosts.clock.monotonic() + seconds
    while hosts.clock.monotonic() < end:
        await hosts.clock.advance(0.005)
        await threads_done()
        hosts.check_never_two()


async def mend(hosts: TwoHosts) -> None:
    """No more trouble; both hosts are at rest at the end."""
    hosts.links.mend("a", "b")
    hosts.links.fate = lambda call: None
    await until(hosts, hosts.quiet)
    await until_later(hosts, 40.0)


async def die_and_come_again(hosts: TwoHosts, name: str, after_s: float = 0.5) -> None:
    await hosts.crash(name)
    await wait(hosts, after_s)
    await hosts.boot(name)


@dataclasses.dataclass(frozen=True, slots=True)
class Blow:
    """``what`` happens before or after one step of a job of ``kind``, whose daemon is ``host``'s."""

    host: str
    kind: str
    step: str
    when: str
    what: Callable[[Job], None]


async def struck(hosts: TwoHosts, blow: Blow, begin: Callable[[TwoHosts], Awaitable[Any]]) -> None:
    """``begin`` a move, and it meets ``blow``. A daemon that dies of it comes again."""
    strike = Strike(blow.kind, blow.step, blow.when, blow.what)
    await hosts.crash(blow.host)
    await hosts.boot(blow.host, strike)
    await begin(hosts)
    await until(hosts, lambda: strike.struck)
    if blow.what is crash:
        await die_and_come_again(hosts, blow.host)


async def cancelled(
    hosts: TwoHosts, kind: str, step: str, when: str, begin: Callable[[TwoHosts], Awaitable[Any]]
) -> None:
    """``begin`` a move from host a, and it is cancelled at ``step``."""
    cancelling: list[object] = []

    def cancel(job: Job) -> None:
        cancelling.append(asyncio.ensure_future(hosts.a.engine.cancel(job.id)))

    await struck(hosts, Blow("a", kind, step, when, cancel), begin)
    assert cancelling


async def troubled(hosts: TwoHosts, job: str, trouble: str, delay_s: float) -> None:
    """That long after ``job`` of host a has begun to copy it is cancelled, the line is cut, or a daemon dies."""
    await until(hosts, lambda: hosts.a.engine.get(job).message.startswith("copying"))
    await wait(hosts, delay_s)
    if trouble == "cancel":
        cancelling = asyncio.ensure_future(hosts.a.engine.cancel(job))
        await until(hosts, cancelling.done)
    elif trouble == "cut":
        hosts.links.cut("a", "b")
        await until(hosts, lambda: hosts.a.engine.get(job).state.finished)
        hosts.links.mend("a", "b")
    else:
        await die_and_come_again(hosts, {"source dies": "a", "target dies": "b"}[trouble])


def older(monkeypatch: pytest.MonkeyPatch, **knows: Any) -> None:
    """From now on targets answer as an older wirt, whose terms say so much less."""
    terms = incoming.terms

    async def as_an_older_one(there: Environment, offer: Offer) -> Terms:
        return dataclasses.replace(await terms(there, offer), **knows)

    monkeypatch.setattr(incoming, "terms", as_an_older_one)
