"""The disks of a fake guest: what each stands on now, and the copies of them that are under way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from wirt.hypervisors.fake.images import Claim, ImageLocks
from wirt.model.diskqos import UNLIMITED, DiskQos
from wirt.model.errors import HypervisorError, IllegalState, NotFound
from wirt.plan.engine import DiskEngine
from wirt.plan.launch import LaunchPlan

DISK_ID = "disk-"


def file_size(path: str) -> int:
    """Of a file that is really there; none has 0 bytes."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


@dataclass(frozen=True, slots=True)
class FakeDisk:
    """``chain``: the image that the guest writes, and those below it. ``locked``: no other may write it.
    ``engine``: how the topmost is served, until it is merged."""

    size: int
    writable: bool
    locked: bool
    chain: tuple[str, ...]
    engine: DiskEngine
    qos: DiskQos


class FakeDisks:
    """Of one guest, by vdev. Survives the daemon, as a QEMU does; so does a copy under way (``copies``, the path
    by vdev), until somebody ends it."""

    def __init__(
        self,
        plan: LaunchPlan,
        backing: Mapping[str, tuple[str, ...]],
        size_of: Callable[[str], int],
        images: ImageLocks,
    ) -> None:
        self.copies: dict[str, str] = {}
        self._name = plan.name
        self._images = images
        self._disks = {
            disk.id.removeprefix(DISK_ID): FakeDisk(
                size_of(disk.path),
                disk.writable,
                not disk.shared,
                (disk.path, *backing.get(disk.path, ())),
                disk.engine,
                disk.qos if disk.qos.limits else UNLIMITED,
            )
            for disk in plan.disks
            if disk.path is not None
        }

    @property
    def claims(self) -> tuple[Claim, ...]:
        own = tuple(Claim(disk.chain[0], disk.writable) for disk in self._disks.values() if disk.locked)
        return (*own, *(Claim(path, True) for path in self.copies.values()))

    def all(self) -> Mapping[str, FakeDisk]:
        return dict(self._disks)

    def find(self, vdev: str) -> FakeDisk:
        try:
            return self._disks[vdev]
        except KeyError:
            raise NotFound(f"{self._name} has no disk {vdev}") from None

    def renamed(self, old: str, new: str) -> None:
        """The file itself is who it was."""
        for vdev, disk in self._disks.items():
            chain = tuple(new if path == old else path for path in disk.chain)
            self._disks[vdev] = replace(disk, chain=chain)
        self.copies = {vdev: new if path == old else path for vdev, path in self.copies.items()}

    def resize(self, vdev: str, size: int) -> None:
        disk = self.find(vdev)
        if size < disk.size:
            raise HypervisorError(f"{self._name}: a disk of a guest that runs only grows, and {vdev} would shrink")
        self._disks[vdev] = replace(disk, size=size)

    def serve(self, vdev: str, engine: DiskEngine) -> None:
        self._disks[vdev] = replace(self.find(vdev), engine=engine)

    def throttle(self, limits: Mapping[str, DiskQos]) -> None:
        for vdev in limits:
            self.find(vdev)
        for vdev, qos in limits.items():
            self._disks[vdev] = replace(self._disks[vdev], qos=qos if qos.limits else UNLIMITED)

    def begin_copy(self, owner: object, vdev: str, path: str) -> None:
        """``ResourceBusy`` if someone has ``path``."""
        disk = self.find(vdev)
        if vdev in self.copies:
            raise IllegalState(f"disk {vdev} of {self._name} is being moved already")
        if path in disk.chain:
            raise HypervisorError(f"{self._name}: {vdev} has {path} open already")
        self._images.take(owner, self._name, (Claim(path, True),))
        self.copies[vdev] = path

    def end_copy(self, owner: object, vdev: str, *, pivot: bool) -> None:
        """Go on with the copy, or let go of it. One that was ended already is no error."""
        path = self.copies.pop(vdev, None)
        if path is None:
            return
        gone = path
        if pivot:
            disk = self.find(vdev)
            gone = disk.chain[0]
            self._disks[vdev] = replace(disk, chain=(path,))
        self._let_go(owner, gone)

    def snapshot(self, owner: object, overlays: Mapping[str, str]) -> None:
        """All or none."""
        for vdev, path in overlays.items():
            if path in self.find(vdev).chain:
                raise HypervisorError(f"{self._name}: {vdev} has {path} open already")
        wanted = tuple(Claim(path, True) for vdev, path in overlays.items() if self.find(vdev).locked)
        self._images.take(owner, self._name, wanted)
        for vdev, path in overlays.items():
            disk = self.find(vdev)
            self._disks[vdev] = replace(disk, chain=(path, *disk.chain))
            self._let_go(owner, disk.chain[0])

    def merge(self, owner: object, vdev: str, path: str) -> None:
        disk = self.find(vdev)
        if path not in disk.chain:
            raise NotFound(f"disk {vdev} of {self._name} does not stand on {path}")
        if path == disk.chain[-1]:
            raise IllegalState(f"{path} is the lowest layer of disk {vdev} of {self._name}")
        chain = tuple(layer for layer in disk.chain if layer != path)
        self._images.take(owner, self._name, (Claim(chain[0], disk.writable),) if disk.locked else ())
        self._disks[vdev] = replace(disk, chain=chain)
        self._let_go(owner, path)

    def _let_go(self, owner: object, path: str) -> None:
        if path not in {claim.path for claim in self.claims}:
            self._images.release(owner, (Claim(path, True),))
