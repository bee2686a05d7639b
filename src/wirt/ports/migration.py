"""What wirt asks of a hypervisor to move a guest that runs: one side sends, the other receives.

The order, and who decides, is above (``operations/migrate``). Here the guest is carried so far that it could go on
at either side, and at neither without being told to:

1. the target is launched with ``Launch.incoming``; it waits (``receive``), and serves disks that come along;
2. ``send`` copies memory while the guest runs, and returns when it stands still with a last rest to go;
3. ``finish`` sends that rest: from here on the source holds no lock on any disk;
4. somebody decides. Either the target goes on (:meth:`~wirt.ports.hypervisor.Hypervisor.resume`) and the source is
   destroyed; or the target is destroyed and the source goes on (``back``). Never both.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from wirt.ports.storage import Progress


@dataclass(frozen=True, slots=True)
class Credentials:
    """One side's certificates for one migration, as PEM: made for it and worth nothing after it. ``authority`` has
    signed both sides'; ``name`` is the one that the receiving side's certificate bears."""

    authority: str
    certificate: str
    key: str = field(repr=False)
    name: str


@dataclass(frozen=True, slots=True)
class Channel:
    """A connected stream, the callee's to close whatever happens. ``credentials``: ``None`` where the stream goes
    through something that protects it by itself (ssh)."""

    stream: socket.socket
    credentials: Credentials | None


@dataclass(frozen=True, slots=True)
class Course:
    """How to travel. Both sides are told the same.

    ``bytes_per_s``: at most so many (``None``: as fast as it goes). ``max_downtime_ms``: the guest is stopped once
    the rest can be sent in so long. ``xbzrle``: pages that changed little are sent as differences.
    ``auto_converge``: a guest that is too fast is slowed down. ``postcopy``: :meth:`LiveMigrations.go_over` may be
    called."""

    bytes_per_s: int | None = None
    max_downtime_ms: int = 300
    xbzrle: bool = False
    auto_converge: bool = False
    postcopy: bool = False


class Phase(StrEnum):
    SETUP = "setup"
    COPYING = "copying"
    STANDING = "standing"
    """The guest stands still, and the rest has not been sent."""
    POSTCOPY = "postcopy"
    """The target has what it needs to go on, and fetches the rest while it runs."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Travelled:
    """How far it is, as the sending side says. ``downtime_ms`` is the hypervisor's own account of how long the
    guest stood, which is less than what a peer of the guest sees; ``None`` until it is known."""

    phase: Phase
    total_bytes: int = 0
    sent_bytes: int = 0
    remaining_bytes: int = 0
    rounds: int = 0
    dirty_bytes_per_s: int = 0
    bytes_per_s: int = 0
    throttle_percent: int = 0
    total_ms: int = 0
    setup_ms: int = 0
    downtime_ms: int | None = None
    error: str = ""


Report = Callable[[Travelled], None]


class LiveMigrations(Protocol):
    """Errors: ``IllegalState`` (no such run, or not in the right phase), ``HypervisorError`` with the hypervisor's
    words, ``HypervisorSilent``, ``NotFound`` (no such disk). Waits for the other side are bounded by the caller,
    who may cancel: a cancelled ``send`` or ``mirror`` leaves the guest going on here as if nothing had been."""

    async def no_postcopy(self) -> str | None:
        """Why a guest can't go over early here, with what would help; ``None`` if it can."""
        ...

    async def dirty_rate(self, domain: UUID, for_s: float) -> int:
        """Bytes of memory a second that a running guest changes, sampled over ``for_s`` seconds."""
        ...

    async def send(self, domain: UUID, channel: Channel, course: Course, report: Report) -> Travelled:
        """Copy memory until the guest stands still (a paused one does from the start). Disks are the source's
        still. If it fails the guest goes on here, and nothing of the attempt is left."""
        ...

    async def go_over(self, domain: UUID) -> None:
        """Have a ``send`` under way stop the guest now, whatever remains: ``finish`` leads to
        :attr:`Phase.POSTCOPY` then. Only with ``Course.postcopy``."""
        ...

    async def finish(self, domain: UUID) -> Travelled:
        """Send the rest, disks that are mirrored first; in :attr:`Phase.COMPLETED` or :attr:`Phase.POSTCOPY` the
        other side has all that it needs. The guest stays stopped here and holds no lock. On an error it is stopped
        still, and ``back`` works. Nothing is waited for that only a report needs: ``downtime_ms`` may not be known
        yet."""
        ...

    async def delivered(self, domain: UUID, report: Report) -> Travelled:
        """After :attr:`Phase.POSTCOPY`: once the last page has gone. After :attr:`Phase.COMPLETED`, at once: with
        what ``finish`` did not know yet."""
        ...

    async def back(self, domain: UUID) -> None:
        """Give the migration up: the guest goes on here (stays paused if it was paused), mirrors have ended. Works
        in any phase but post-copy's, also for a daemon that was not there when it began, and repeated.
        ``IllegalState`` after :attr:`Phase.POSTCOPY`: its memory is on both sides, and whole on neither."""
        ...

    async def mirror(
        self,
        domain: UUID,
        vdev: str,
        channel: Channel,
        progress: Progress,
        *,
        bytes_per_s: int | None = None,
        top: bool = False,
    ) -> None:
        """Copy a disk to the other side's ``serve`` while the guest writes it; returns when both hold the same,
        which goes on so until ``finish`` or ``back``. All that the disk shows is copied, its backing images'
        too; ``top``: only what its topmost image has of its own, for the other side's stands on the same."""
        ...

    async def serve(
        self, domain: UUID, vdevs: tuple[str, ...], listener: socket.socket, credentials: Credentials | None
    ) -> None:
        """Have a guest that waits for its memory take what ``mirror`` sends into these disks. ``listener`` is a
        listening socket, the callee's to close. It ends with ``receive``."""
        ...

    async def receive(self, domain: UUID, channel: Channel, course: Course) -> Phase:
        """Returns once all that the guest needs has arrived: :attr:`Phase.COMPLETED`, or :attr:`Phase.POSTCOPY`.
        It is paused and holds no lock on a disk until it is resumed. An error ends the run: what was sent is of no
        use."""
        ...

    async def settle(self, domain: UUID) -> None:
        """A guest that was received goes on here: what was only for its way is taken away, of which its instant
        of standing still is no time. Repeated, or of a run that was never received, it changes nothing."""
        ...
