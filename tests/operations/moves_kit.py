"""Two hosts in memory, a line between them that can be cut, and a guest that tells where it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pydantic
from tests.operations.kit import SimulatedHost

from wirt.hypervisors.fake.images import ImageLocks
from wirt.model.job import Job
from wirt.model.lifecycle import State
from wirt.model.migration import Forecast, Receipt
from wirt.operations import incoming
from wirt.operations.jobs.engine import Hooks
from wirt.peers.fake import FakeLinks, FakePeers
from wirt.ports.virtual_clock import VirtualClock
from wirt.storage.fake import FakeMedium
from wirt.wire.v1_incoming import Offer

_OFFER = pydantic.TypeAdapter(Offer)


class TwoHosts:
    """``a`` and ``b``: two daemons with a store each, one line, and one pool that both have."""

    def __init__(self, directory: Path, seed: int = 1, *, shared: bool = True) -> None:
        """``shared``: both have the same default pool."""
        self.links, self.clock = FakeLinks(), VirtualClock()
        self.locks = ImageLocks()
        media: dict[str, FakeMedium] = {}
        self.a = self._host("a", directory, seed * 2, media if shared else None)
        self.b = self._host("b", directory, seed * 2 + 1, media if shared else None)
        self.hosts = {"a": self.a, "b": self.b}

    def _host(self, name: str, directory: Path, seed: int, media: dict[str, FakeMedium] | None) -> SimulatedHost:
        host = SimulatedHost(directory / name, seed, self.clock, media)
        host.machine.name = name
        if media is not None:
            host.world.images = self.locks
        host.peers = FakePeers(self.links, name, self.clock)
        return host

    async def boot(self, name: str, hooks: Hooks | None = None) -> None:
        host = self.hosts[name]
        await host.boot(hooks)
        self.links.serve(name, lambda method, path, body: serve(host, method, path, body))

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
    rest = path.removeprefix("/v1/incoming").strip("/").split("/")
    if rest == ["terms"]:
        return _plain(await incoming.terms(environment, _offer(body)))
    if rest == [""]:
        return await incoming.prepare(environment, _offer(body), through_ssh=False)
    handover, *action = rest
    if action == ["leave"]:
        return _plain(await incoming.give_leave(environment, handover))
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
        hosts.check_never_two()


async def until_later(hosts: TwoHosts, seconds: float) -> None:
    """The hosts' own loops have had their turn by then, and what these began has ended."""
    end = hosts.clock.monotonic() + seconds
    await until(hosts, lambda: hosts.clock.monotonic() >= end)
    await until(hosts, hosts.quiet)
