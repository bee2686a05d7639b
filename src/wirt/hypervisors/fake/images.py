"""The locks that QEMU takes on images, so that a fake host notices when two guests would write to one."""

from __future__ import annotations

from dataclasses import dataclass

from wirt.model.errors import ResourceBusy


@dataclass(frozen=True, slots=True)
class Claim:
    """One disk of one run. Any number may read an image together; whoever writes is alone. Disks that guests share
    (``mode=w!``) have none, as with QEMU's ``locking=off``."""

    path: str
    writes: bool


class ImageLocks:
    """Who holds which image. Hosts that share storage share one of these."""

    def __init__(self) -> None:
        self._holders: dict[str, dict[object, bool]] = {}

    def take(self, owner: object, name: str, claims: tuple[Claim, ...]) -> None:
        """All of ``claims`` for ``owner``, or none: ``ResourceBusy`` names the image in the way."""
        for claim in claims:
            others = [w for who, w in self._holders.get(claim.path, {}).items() if who is not owner]
            if others and (claim.writes or any(others)):
                raise ResourceBusy(
                    f"{name}: a disk of it is in use: {claim.path}",
                    hint="stop whoever has it open, or give this domain a disk of its own",
                )
        for claim in claims:
            holders = self._holders.setdefault(claim.path, {})
            holders[owner] = claim.writes or holders.get(owner, False)

    def release(self, owner: object, claims: tuple[Claim, ...]) -> None:
        for claim in claims:
            holders = self._holders.get(claim.path, {})
            holders.pop(owner, None)
            if not holders:
                self._holders.pop(claim.path, None)

    def renamed(self, old: str, new: str) -> None:
        if old in self._holders:
            self._holders[new] = self._holders.pop(old)

    def writers(self, path: str) -> int:
        """How many hold ``path`` for writing: never more than one, which a simulation checks."""
        return sum(self._holders.get(path, {}).values())
