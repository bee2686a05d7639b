"""Whatever step of a plug fails: the kernel's reason is told, and nothing half-made remains."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from wirt.model.errors import Shortage, Unavailable
from wirt.network import DefaultBridge, HostNetwork, sysctl, taps
from wirt.network.links import Links, LinksOpener, open_links
from wirt.ports.virtual_clock import VirtualClock

from .worlds import card, devices

pytestmark = pytest.mark.root

STEPS = ["find", "addresses", "add_bridge", "add_address", "set_up", "attach"]


def failing(step: str, failure: BaseException) -> LinksOpener:
    """Conversations with the kernel in which ``step`` fails."""

    class Failing:
        def __init__(self, links: Links) -> None:
            self._links = links

        def __getattr__(self, name: str) -> Any:
            return self._fail if name == step else getattr(self._links, name)

        async def _fail(self, *_: object) -> None:
            raise failure

    @asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        async with open_links() as links:
            yield Failing(links)

    return opened


def network(links: LinksOpener) -> HostNetwork:
    return HostNetwork(DefaultBridge(), VirtualClock(), links=links)


@pytest.mark.parametrize("step", STEPS)
async def test_a_plug_that_fails_leaves_nothing(namespace: None, step: str) -> None:
    before = _descriptors()

    with pytest.raises(Unavailable, match="No buffer space available"):
        await network(failing(step, OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS)))).plug(card())

    # A complete bridge may stay for the next card; a half-made one may not.
    assert set(devices()) == ({"lo", "wirtbr0"} if step == "attach" else {"lo"})
    assert _descriptors() == before


@pytest.mark.parametrize("step", STEPS)
async def test_a_plug_that_is_cancelled_leaves_nothing(namespace: None, step: str) -> None:
    before = _descriptors()

    with pytest.raises(asyncio.CancelledError):
        await network(failing(step, asyncio.CancelledError())).plug(card())

    assert set(devices()) == ({"lo", "wirtbr0"} if step == "attach" else {"lo"})
    assert _descriptors() == before


@pytest.mark.parametrize("step", STEPS)
async def test_a_plug_after_a_failed_one_succeeds(namespace: None, step: str) -> None:
    with pytest.raises(Unavailable):
        await network(failing(step, OSError(errno.EPERM, "Operation not permitted"))).plug(card())
    healthy = network(open_links)

    plugged = await healthy.plug(card())

    assert plugged.tap == "vif1.0"
    await healthy.unplug(plugged)


async def test_a_kernel_that_does_not_answer_is_given_up(namespace: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wirt.network.host._DEADLINE_S", 0.0)

    with pytest.raises(Unavailable, match="did not put vif0 into its bridge within"):
        await network(open_links).plug(card())

    assert "vif1.0" not in devices()


async def test_a_full_bridge_is_a_shortage(namespace: None) -> None:
    full = OSError(errno.EXFULL, os.strerror(errno.EXFULL))

    with pytest.raises(Shortage, match="no free port"):
        await network(failing("attach", full)).plug(card())


async def test_a_host_without_the_tun_device_is_told_how_to_get_it(
    namespace: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(taps, "DEVICE", str(tmp_path / "tun"))

    with pytest.raises(Unavailable, match="No such file or directory") as refusal:
        await network(open_links).plug(card())

    assert refusal.value.hint is not None
    assert "modprobe tun" in refusal.value.hint
    assert not network(open_links).can_bridge()


async def test_a_bridge_that_cannot_be_isolated_is_not_made(
    namespace: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")

    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(sysctl, "ensure", read_only)

    with pytest.raises(Unavailable, match="can't be isolated: Read-only file system") as refusal:
        await network(open_links).plug(card())

    assert refusal.value.hint is not None
    assert "/proc/sys" in refusal.value.hint
    assert set(devices()) == {"lo"}


async def test_an_unplug_that_fails_can_be_repeated(namespace: None) -> None:
    refusing = False
    broken = failing("delete", OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS)))
    flaky = network(lambda: (broken if refusing else open_links)())
    plugged = await flaky.plug(card())
    assert plugged.descriptor is not None
    held = os.dup(plugged.descriptor)

    refusing = True
    with pytest.raises(Unavailable, match="can't be removed: No buffer space"):
        await flaky.unplug(plugged)
    refusing = False
    await flaky.unplug(plugged)

    assert "vif1.0" not in devices()
    os.close(held)


def _descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir() if "tun" in str(_target(entry))}


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except FileNotFoundError:
        return ""
