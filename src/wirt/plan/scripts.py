"""Scripts of one's own that plug a card in: ``script=`` of a vif (xl-network-configuration(5), "script").

They are called as libxl calls them, with ``online`` or ``offline`` and ``type_if=vif``, and find the card in their
environment. What xl's scripts read from the xenstore is there as well, since there is no xenstore.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirt.plan.nics import NicPlan

XEN_SCRIPTS = "/etc/xen/scripts"
OWN = "vif-bridge"
"""What xl's script of this name does, wirt does itself."""


class Action(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class VifScript:
    """A card that the script at ``path`` plugs in. ``tap`` is the device; when it is called for ``offline`` that
    may be gone."""

    path: str
    tap: str
    mac: str
    bridge: str | None = None
    addresses: tuple[str, ...] = ()
    mtu: int | None = None
    gatewaydev: str | None = None

    def arguments(self, action: Action) -> tuple[str, ...]:
        return self.path, str(action), "type_if=vif"

    def environment(self) -> dict[str, str]:
        """Without what is not known: scripts ask whether a variable is set."""
        values = {
            "script": self.path,
            "XENBUS_TYPE": "vif",
            "vif": self.tap,
            "vifname": self.tap,
            "dev": self.tap,
            "mac": self.mac,
            "bridge": self.bridge,
            "ip": " ".join(self.addresses),
            "mtu": None if self.mtu is None else str(self.mtu),
            "gatewaydev": self.gatewaydev,
            "netdev": self.gatewaydev,
        }
        return {name: value for name, value in values.items() if value}

    def written(self) -> str:
        """For a run's notes; :func:`read_script` reads it."""
        return json.dumps(asdict(self))


def script_of(nic: NicPlan, tap: str) -> VifScript | None:
    """``nic``'s own script, with the card that it has become."""
    if nic.script is None:
        return None
    return VifScript(nic.script, tap, nic.mac, nic.bridge, nic.addresses, nic.mtu, nic.gatewaydev)


def read_script(text: str) -> VifScript:
    data = json.loads(text)
    return VifScript(**{**data, "addresses": tuple(data["addresses"])})


def script_path(script: str | None) -> str | None:
    """The file that ``script=`` means; ``None`` for what wirt does itself."""
    if script is None or script == OWN:
        return None
    return script if script.startswith("/") else f"{XEN_SCRIPTS}/{script}"
