"""Uids that belong to one live run each, over all daemons of a host.

A claim is a link named by the uid, to the run's directory, in one place of the host's that a boot empties. It is
out of reach for the process that has the uid, needs no daemon to stay, and is void once the run's directory is
gone.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wirt.model.errors import Shortage
from wirt.plan.jail import Uids

CLAIMS = Path("/run/wirt-uids")


class UidClaims:
    def __init__(self, place: Path = CLAIMS) -> None:
        self._place = place

    def take(self, uids: Uids, directory: Path) -> int:
        """The first free uid in the plan's order, now claimed for the run in ``directory``. ``Shortage`` if none
        is free, or if the place of the claims can't be written."""
        with self._locked():
            for uid in uids.in_order():
                claim = self._place / str(uid)
                if _void(claim):
                    claim.symlink_to(directory.absolute())
                    return uid
        raise Shortage(
            f"all {uids.count} uids from {uids.base} on belong to runs", hint="give wirt a larger range of uids"
        )

    def release(self, directory: Path) -> None:
        """Give up whatever is claimed for the run in ``directory``."""
        holder = directory.absolute()
        if not self._place.is_dir():
            return
        with self._locked():
            for claim in self._place.iterdir():
                if claim.is_symlink() and claim.readlink() == holder:
                    claim.unlink()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Shortage(
                f"the uids of runs can't be written down in {self._place}: {error.strerror}",
                hint="make room there: it is where wirt keeps two runs from sharing a uid",
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _void(claim: Path) -> bool:
    """Whether ``claim`` does not stand; a void one is removed."""
    try:
        holder = claim.readlink()
    except FileNotFoundError:
        return True
    if holder.exists():
        return False
    claim.unlink()
    return True
