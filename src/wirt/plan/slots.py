"""PCI slots of a guest's root bus: who gets which. Pure.

Most are handed out in order. What came later, and not every guest has, takes its own from the far end, so that
whoever had devices before there was such a thing finds them where they were.
"""

from __future__ import annotations

from wirt.model.domain import DomainConfig
from wirt.model.errors import BadInput, ConfigError

FIRST_SLOT, LAST_SLOT = 1, 30
AGENT_SLOT, HOTPLUG_SLOT = LAST_SLOT, LAST_SLOT - 1


class Slots:
    """Those handed out in order: the same configuration always gets the same ones."""

    def __init__(self) -> None:
        self._next = FIRST_SLOT

    def take(self, device: str) -> int:
        """``BadInput`` when none is left."""
        if self._next > LAST_SLOT:
            raise BadInput(f"no PCI slot is left for {device}", hint="give the domain fewer disks or vifs")
        self._next += 1
        return self._next - 1

    def free(self, slot: int) -> bool:
        return self._next <= slot


def agent_slot(config: DomainConfig, slots: Slots) -> int | None:
    """Once all others have theirs. Who has used up all slots goes without (``None``), unless he asked for one."""
    full = not slots.free(AGENT_SLOT)
    if config.guest_agent is False or (full and config.guest_agent is None):
        return None
    if full:
        raise _none_left("the guest agent's port", "guest_agent", "or set guest_agent = 0")
    return AGENT_SLOT


def hotplug_slot(slots: Slots) -> int:
    """For the device of memory that can be plugged in, once all others have theirs."""
    if not slots.free(HOTPLUG_SLOT):
        raise _none_left("memory that can be plugged in", "hotplug_memory", "or leave hotplug_memory out")
    return HOTPLUG_SLOT


def _none_left(what: str, key: str, otherwise: str) -> ConfigError:
    hint = f"give the domain fewer disks or vifs, {otherwise}"
    return ConfigError(f"no PCI slot is left for {what}", key=key, hint=hint)
