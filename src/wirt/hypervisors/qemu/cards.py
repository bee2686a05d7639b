"""The cards that a running QEMU has: attached, taken out and silenced over QMP.

A card goes only when its guest lets go of it: ``device_del`` asks, ``DEVICE_DELETED`` tells that it has, and a
request once made can't be withdrawn (QEMU QMP reference, "device_del").
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from qemu.qmp import ExecuteError

from wirt.hypervisors.qemu import devices
from wirt.hypervisors.qemu.monitor import Monitor
from wirt.model.devices import VifKind
from wirt.model.errors import DeadlinePassed, HypervisorError, HypervisorSilent, IllegalState, Shortage
from wirt.ports.network import Plugged

_CARD = re.compile(r"vif(\d{1,5})-device")
_PERIPHERALS = "/machine/peripheral"
"""Where QEMU keeps devices that have a name (docs/devel/qom)."""


class Cards:
    """Of one run. ``name`` is the domain's, for messages."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._present: set[int] = set()
        self._leaving: dict[int, asyncio.Future[None]] = {}

    @property
    def present(self) -> frozenset[int]:
        return frozenset(self._present)

    def set(self, devids: Iterable[int]) -> None:
        self._present = set(devids)

    async def look(self, monitor: Monitor) -> None:
        """Ask QEMU which it has."""
        found = await monitor.execute("qom-list", {"path": _PERIPHERALS})
        matches = (_CARD.fullmatch(str(child.get("name"))) for child in found)
        self.set(int(match[1]) for match in matches if match is not None)

    def on_event(self, event: Mapping[str, Any]) -> None:
        data = event.get("data")
        match = _CARD.fullmatch(str(data.get("device"))) if isinstance(data, Mapping) else None
        if match is None:
            return
        waiting = self._leaving.get(devid := int(match[1]))
        if event.get("event") == "DEVICE_DELETED":
            self._present.discard(devid)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
        elif event.get("event") == "DEVICE_UNPLUG_GUEST_ERROR" and waiting is not None and not waiting.done():
            waiting.set_exception(self._kept(devid, "says that it can't let go of"))

    async def attach(self, monitor: Monitor, plugged: Plugged) -> None:
        """On an error QEMU has neither the card nor its network's end."""
        nic = plugged.nic
        if nic.index in self._present:
            raise IllegalState(f"{self._name} has a vif {nic.index} already")
        if nic.port is None:
            raise Shortage(f"{self._name} has no place for vif {nic.index}")
        await self._add_network(monitor, plugged)
        try:
            await monitor.execute("device_add", devices.card(nic))
        except BaseException as error:
            if isinstance(error, HypervisorSilent):
                with contextlib.suppress(HypervisorError):
                    await monitor.execute("device_del", {"id": devices.card_id(nic.index)})
            await self._drop_network(monitor, nic.index)
            raise
        self._present.add(nic.index)

    async def detach(self, monitor: Monitor, devid: int, deadline_s: float) -> None:
        """Also what is left of a card that is gone already. ``DeadlinePassed`` if the guest keeps it."""
        waiting = asyncio.get_running_loop().create_future()
        self._leaving[devid] = waiting
        try:
            if await self._ask(monitor, devid):
                await asyncio.wait_for(waiting, deadline_s)
        except TimeoutError:
            raise self._kept(devid, f"did not within {deadline_s:g} s let go of") from None
        finally:
            del self._leaving[devid]
        self._present.discard(devid)
        await self._drop_network(monitor, devid)

    async def set_link(self, monitor: Monitor, devid: int, *, up: bool) -> None:
        await monitor.execute("set_link", {"name": devices.card_id(devid), "up": up})

    async def _ask(self, monitor: Monitor, devid: int) -> bool:
        """Whether there is a card to wait for."""
        try:
            await monitor.execute("device_del", {"id": devices.card_id(devid)})
        except HypervisorError as error:
            cause = error.__cause__
            if isinstance(cause, ExecuteError) and cause.error_class == "DeviceNotFound":
                return False
            if "in the process of unplug" not in str(error):  # asked before
                raise
        return True

    async def _add_network(self, monitor: Monitor, plugged: Plugged) -> None:
        nic = plugged.nic
        if plugged.kind is VifKind.USER and plugged.descriptor is None:
            await monitor.execute("netdev_add", devices.user_network(nic, plugged.forwards))
        elif plugged.descriptor is not None:
            handle = f"network-{nic.id}"
            await monitor.hand_over(handle, plugged.descriptor)
            network = devices.socket if plugged.kind is VifKind.USER else devices.tap
            try:
                await monitor.execute("netdev_add", network(nic, handle))
            except BaseException:
                with contextlib.suppress(HypervisorError):
                    await monitor.execute("closefd", {"fdname": handle})
                raise

    async def _drop_network(self, monitor: Monitor, devid: int) -> None:
        """A card may have none."""
        with contextlib.suppress(HypervisorError):
            await monitor.execute("netdev_del", {"id": f"vif{devid}"})

    def _kept(self, devid: int, how: str) -> DeadlinePassed:
        return DeadlinePassed(
            f"the guest {self._name} {how} vif {devid}",
            hint="a guest that boots, hangs or knows no PCI hot-plug does not answer; the request stays, and the"
            " card goes once it is answered. To be rid of it for certain: shut down, network-detach, start",
        )
