"""A guest that was written into a file, to go on from there."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from wirt.model.cpu import GivenCpu
from wirt.model.memory import GivenMemory


@dataclass(frozen=True, slots=True)
class SavedDisk:
    """A disk as it was at that instant: ``target`` is its volume (``POOL/VOLUME``) or its path. ``stamps`` tell
    whether somebody has written since: the image, and each that it stands on
    (:meth:`~wirt.ports.storage.Storage.stamps`); ``None``: of one of them that can't be told."""

    vdev: str
    target: str
    size: int
    writable: bool
    stamps: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class SavedGuest:
    """``id`` is this file's own, ``text`` the configuration as a canonical xl.cfg. ``epoch`` and ``domid`` name
    the run that was saved; ``created_at`` is seconds since 1970, ``host`` where that was. ``hypervisor`` and
    ``version`` wrote the memory, ``hardware`` is what the guest saw, by name: it has to find the same. ``paused``:
    it stood still before."""

    id: str
    uuid: UUID
    name: str
    text: str
    persistent: bool
    epoch: int
    domid: int
    created_at: float
    host: str
    hypervisor: str
    version: tuple[int, int, int]
    memory_mib: int
    """How large its memory is: what it was started with, whatever ``text`` says."""
    padding_kib: int
    """That it has beyond ``memory_mib``."""
    hardware: tuple[tuple[str, str], ...]
    paused: bool
    cpu: GivenCpu | None = None
    """What its CPU was; ``None``: an older wirt saved it, which did not know."""
    vcpus: int | None = None
    """How many it had, used or not; ``None``: as ``text`` says."""
    reporting: bool = False
    """Its balloon device takes reports of free pages."""
    hotplug_mib: int = 0
    """That can be plugged in beyond ``memory_mib``."""

    @property
    def given(self) -> GivenMemory:
        return GivenMemory(self.memory_mib or None, self.padding_kib, self.reporting, self.hotplug_mib)
