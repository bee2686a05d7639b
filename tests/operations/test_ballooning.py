"""Ballooning by itself: guests get what they need, give when others need it, and the host never has to swap."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost

from wirt.config.settings import read_settings
from wirt.hypervisors.fake import FakeGuest, Refuse, Verb
from wirt.model.errors import ConfigError
from wirt.model.units import MIB
from wirt.operations.reconcile.memory import ADVISING, LOOK_EVERY_S, ON, MemoryLoop


async def up(tmp_path: Path, *names: str) -> SimulatedHost:
    host = SimulatedHost(tmp_path)
    await host.boot()
    for name in names:
        await host.create("maxmem = 512", name=name)
    await host.settle()
    return host


def guest(host: SimulatedHost, name: str) -> FakeGuest:
    return host.world.guest(host.environment.domains.find(name).uuid)


async def test_a_guest_that_needs_more_gets_it_and_never_more_than_it_can_have(tmp_path: Path) -> None:
    host = await up(tmp_path, "web")
    loop, balloon = MemoryLoop(host.environment, ON), guest(host, "web").balloon
    balloon.used = 60
    await loop.look()
    assert balloon.actual == 128
    balloon.used = 200
    await loop.look()
    assert balloon.actual == 192, "it can't use more than it has, so it grows by steps"
    await loop.look()
    assert balloon.actual >= 250
    balloon.used = 500
    for _ in range(5):
        await loop.look()
    assert 500 <= balloon.actual <= 512
    await host.stop()


async def test_nobody_grows_into_what_is_not_free(tmp_path: Path) -> None:
    host = await up(tmp_path, "web", "db")
    for name in ("web", "db"):
        guest(host, name).balloon.used = 400
    reserve = host.environment.host_facts().reserve_bytes
    host.machine.available_bytes = reserve + 100 * MIB
    await MemoryLoop(host.environment, ON).look()
    grown = sum(guest(host, name).balloon.actual - 128 for name in ("web", "db"))
    assert 0 < grown <= 100
    host.machine.available_bytes = reserve
    await MemoryLoop(host.environment, ON).look()
    assert sum(guest(host, name).balloon.actual - 128 for name in ("web", "db")) == grown
    await host.stop()


async def test_advice_is_told_once_and_nothing_is_done(tmp_path: Path) -> None:
    host = await up(tmp_path, "web")
    guest(host, "web").balloon.used = 300
    loop, told = MemoryLoop(host.environment, ADVISING), []
    publish = host.environment.bus.publish

    def listen(kind: str, *rest: object) -> None:
        if isinstance(rest[-1], dict) and rest[-1].get("change") == "memory-advice":
            told.append(rest[-1]["target_mib"])
        publish(kind, *rest)  # type: ignore[arg-type]

    host.environment.bus.publish = listen  # type: ignore[method-assign,assignment]
    await loop.look()
    await loop.look()
    assert guest(host, "web").balloon.actual == 128
    assert told == [192]
    await host.stop()


async def test_a_guest_without_driver_or_with_a_broken_one_is_left_alone(tmp_path: Path) -> None:
    host = await up(tmp_path, "web", "db")
    guest(host, "web").balloon.driver = False
    guest(host, "db").balloon.used = 300
    host.world.fail(Verb.BALLOON, Refuse("no"))
    loop = MemoryLoop(host.environment, ON)
    await loop.look()
    assert [guest(host, name).balloon.actual for name in ("web", "db")] == [128, 128]
    await loop.look()
    assert guest(host, "db").balloon.actual == 192
    await host.stop()


async def test_it_looks_by_itself_until_it_is_stopped(tmp_path: Path) -> None:
    host = await up(tmp_path, "web")
    guest(host, "web").balloon.used = 200
    loop = MemoryLoop(host.environment, ON)
    loop.start()
    await host.settle()
    await host.clock.advance(LOOK_EVERY_S + 1)
    await host.settle()
    assert guest(host, "web").balloon.actual > 128
    await loop.stop()
    off = MemoryLoop(host.environment, "off")
    off.start()
    await off.stop()
    await host.stop()


def test_the_setting_is_one_of_three() -> None:
    assert read_settings('ballooning = "advising"', "wirt.toml", {}).ballooning == "advising"
    assert read_settings("", "wirt.toml", {}).ballooning == "off"
    with pytest.raises(ConfigError, match="can't be maybe"):
        read_settings('ballooning = "maybe"', "wirt.toml", {})
