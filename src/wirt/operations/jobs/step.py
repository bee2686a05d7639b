"""What an operation is made of. Each step names its undo beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from wirt.model.job import Job, Recovery

E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)


class JobKind(StrEnum):
    """Stored words: never renamed, only added."""

    CREATE = "create"
    START = "start"
    DESTROY = "destroy"
    END = "end"
    RESTART = "restart"
    RENAME_RESTART = "rename-restart"
    DUMP_END = "coredump-end"
    DUMP_RESTART = "coredump-restart"
    SOFT_RESET = "soft-reset"
    BUILD_IMAGE = "build-image"
    VIF_ATTACH = "network-attach"
    VIF_DETACH = "network-detach"
    VIF_LINK = "network-link"
    NETWORK_CREATE = "network-create"
    NETWORK_DESTROY = "network-destroy"
    POOL_CREATE = "pool-create"
    POOL_DESTROY = "pool-destroy"
    VOLUME_CREATE = "volume-create"
    VOLUME_RESIZE = "volume-resize"
    VOLUME_CLONE = "volume-clone"
    VOLUME_COPY = "volume-copy"
    VOLUME_MOVE = "volume-move"
    VOLUME_IMPORT = "volume-import"
    VOLUME_EXPORT = "volume-export"
    VOLUME_DESTROY = "volume-destroy"
    BOOTSTRAP = "bootstrap"
    DISK_MOVE = "disk-move"
    SNAPSHOT_CREATE = "snapshot-create"
    SNAPSHOT_REVERT = "snapshot-revert"
    SNAPSHOT_RESUME = "snapshot-resume"
    SNAPSHOT_DELETE = "snapshot-delete"
    TEMPLATE_CREATE = "template-create"
    TEMPLATE_DESTROY = "template-destroy"
    TEMPLATE_TO_DOMAIN = "template-to-domain"
    CLONE = "clone"
    IMPORT = "import"
    EXPORT = "export"
    BACKUP = "backup"
    BACKUP_RESTORE = "restore-backup"
    BACKUP_VERIFY = "backup-verify"
    BACKUP_BOOT = "backup-boot"
    BACKUP_PRUNE = "backup-prune"
    MIGRATE = "migrate"
    RECEIVE = "receive"
    MIGRATE_OFFLINE = "migrate-offline"
    RECEIVE_OFFLINE = "receive-offline"
    SAVE = "save"
    CHECKPOINT = "checkpoint"
    RESTORE = "restore"
    REFRESH = "refresh"
    FORK = "fork"
    DISK_QOS = "disk-qos"
    MEM_SET = "mem-set"
    VIF_RATE = "network-rate"
    VCPU_SET = "vcpu-set"
    QOS = "qos"
    QOS_CLASS = "qos-class"
    QOS_CLASS_DESTROY = "qos-class-destroy"


class Context(Protocol[E_co]):
    """What a step may use: the environment, the job's arguments, and notes for its undo.

    ``transient`` is for what can't outlive the daemon (open descriptors): an undo must manage without it.
    """

    @property
    def environment(self) -> E_co: ...

    @property
    def job(self) -> Job: ...

    @property
    def transient(self) -> dict[str, Any]: ...

    @property
    def repeated(self) -> bool:
        """Whether this step was begun before, by a daemon that did not live to see its end."""
        ...

    async def note(self, **notes: Any) -> None:
        """Write ``notes`` (JSON values) into the journal, now."""
        ...

    def progress(self, message: str, share: float) -> None:
        """``share`` of the whole job, 0 to 1."""
        ...


StepFunction = Callable[[Context[E]], Awaitable[None]]


async def nothing_to_undo(context: Context[Any]) -> None:
    """For a step that leaves no trace of its own: what it did is taken back by an earlier step's undo."""


@dataclass(frozen=True, slots=True)
class Step(Generic[E]):
    """``do`` may be repeated after a crash in its middle, so it must bear what it left; ``undo`` must bear a
    ``do`` that never began or got half way. ``final``: once done there is no way back. ``interruptible``: it takes
    long, and a cancellation may stop it anywhere; others are never cut in two, for half of what they do may be in
    the store and not yet in memory. ``binding``: it can't be cancelled any more, and may wait for another host for
    as long as that takes; only the daemon's own end cuts it, and the next one repeats it."""

    name: str
    do: StepFunction[E]
    undo: StepFunction[E]
    final: bool = False
    interruptible: bool = False
    binding: bool = False


@dataclass(frozen=True, slots=True)
class Operation(Generic[E]):
    """``recovery``: what a new daemon does with one that its predecessor left unfinished."""

    kind: JobKind
    steps: tuple[Step[E], ...]
    recovery: Recovery
