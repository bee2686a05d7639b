"""What is sent to a guest that moves: from when on it goes to the other host, and who says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.operations.kit import Strike
from tests.operations.moves_kit import TwoHosts, until
from tests.operations.test_moves import move, settled, start_move, two_hosts

from wirt.model.errors import NotFound
from wirt.model.job import JobState
from wirt.model.lifecycle import State
from wirt.network.fake import FakeHerald
from wirt.operations.incoming import stands_still
from wirt.peers.fake import Kind


@dataclass
class Heard:
    """What switches hear, with the states of the guest at that moment: here, there."""

    hosts: TwoHosts
    states: list[tuple[State, State]] = field(default_factory=list)

    def announced(self) -> None:
        (uuid,) = {guest.domain for host in self.hosts.hosts.values() for guest in host.world.guests()}
        here, there = (host.world.guest(uuid).observed.state for host in (self.hosts.a, self.hosts.b))
        self.states.append((here, there))


async def hearing(directory: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[TwoHosts, Heard]:
    hosts = await two_hosts(directory)
    heard, announce = Heard(hosts), FakeHerald.announce

    def noted(herald: FakeHerald) -> None:
        heard.announced()
        announce(herald)

    monkeypatch.setattr(FakeHerald, "announce", noted)
    return hosts, heard


async def test_frames_wait_over_there_from_when_it_stands_still_and_it_goes_on_with_its_network_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts, heard = await hearing(tmp_path, monkeypatch)
    assert await move(hosts) is JobState.DONE
    paths = [call.path.rpartition("/")[2] for call in hosts.links.calls]
    assert paths.index("still") < paths.index("leave")
    # First when it is asked for, then once more before the first instruction there.
    assert heard.states == [(State.PAUSED, State.PAUSED)] * 2
    mac, tap = next(iter(hosts.b.network.led.items()))
    assert hosts.b.network.announced == [mac, mac] and tap in hosts.b.network.taps
    assert await settled(hosts) == "b"


async def test_an_older_host_that_does_not_ask_for_it_still_has_its_guest_announced_as_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts, heard = await hearing(tmp_path, monkeypatch)
    hosts.links.inject(Kind.LOST_BEFORE, "POST", "/still")
    assert await move(hosts) is JobState.DONE
    assert heard.states == [(State.PAUSED, State.PAUSED)]
    assert await settled(hosts) == "b"


async def test_nobody_stands_still_for_an_announcement_that_takes_long(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    hosts.links.inject(Kind.DELAYED, "POST", "/still", delay_s=8.0)
    began = hosts.clock.monotonic()
    uuid = hosts.a.environment.domains.find("web").uuid
    job = await start_move(hosts)
    await until(hosts, lambda: hosts.runs(uuid) == ["b"])
    assert hosts.clock.monotonic() - began < 5
    await until(hosts, lambda: hosts.a.engine.get(job).state.finished)
    assert await settled(hosts) == "b"


async def test_who_spoke_for_a_guest_that_stays_away_holds_nothing_and_says_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts, heard = await hearing(tmp_path, monkeypatch)
    handovers: list[str] = []
    await hosts.crash("a")
    await hosts.boot(
        "a", Strike("migrate", "memory", "after", lambda job: handovers.append(job.arguments["handover"]))
    )
    hosts.links.inject(Kind.CUT_BEFORE, "POST", "/leave")
    await start_move(hosts)
    await until(hosts, lambda: bool(handovers))
    hosts.links.cut("a", "b")
    (attempt,) = hosts.b.environment.incoming.values()
    herald = attempt.herald
    dismissed: list[FakeHerald] = []
    monkeypatch.setattr(FakeHerald, "close", lambda herald: dismissed.append(herald))
    await hosts.b.environment.handovers.abort(handovers[0])
    before = len(heard.states)
    await stands_still(hosts.b.environment, handovers[0])
    assert len(heard.states) == before
    hosts.links.mend("a", "b")
    assert await settled(hosts) == "a"
    assert attempt.herald is None and dismissed == [herald]
    with pytest.raises(NotFound):
        await stands_still(hosts.b.environment, "one that nobody knows")
