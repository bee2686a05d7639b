"""What can go wrong with a fake hypervisor, as values that a test or a simulation hands to the world."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verb(StrEnum):
    """The driver's verbs that can be slowed down or made to fail."""

    LAUNCH = "launch"
    ADOPT = "adopt"
    CLEAR = "clear"
    RESUME = "resume"
    PAUSE = "pause"
    POWER_BUTTON = "power-button"
    RESET = "reset"
    DUMP_CORE = "dump-core"
    DESTROY = "destroy"
    PRESERVE = "preserve"
    RENAME = "rename"
    VCPUS = "vcpus"
    ATTACH_VIF = "attach-vif"
    DETACH_VIF = "detach-vif"
    SET_LINK = "set-link"
    DISKS = "disks"
    RESIZE_DISK = "resize-disk"
    THROTTLE_DISK = "throttle-disk"
    BALLOON = "balloon"
    LOOK_BALLOON = "look-balloon"
    MOVE_DISK = "move-disk"
    SNAPSHOT_DISKS = "snapshot-disks"
    MERGE_DISK = "merge-disk"
    SAVE_MEMORY = "save-memory"
    AGENT = "agent"
    SET_VCPUS = "set-vcpus"
    PLUG_VCPUS = "plug-vcpus"
    DIRTY_RATE = "dirty-rate"
    SEND = "send"
    FINISH = "finish"
    BACK = "back"
    MIRROR = "mirror"
    SERVE = "serve"
    RECEIVE = "receive"
    CONNECT_CARDS = "connect-cards"
    COUNTERS = "counters"


@dataclass(frozen=True, slots=True)
class Refuse:
    """The hypervisor says no, with ``words``; nothing is changed."""

    words: str = "refused"


@dataclass(frozen=True, slots=True)
class Die:
    """The hypervisor's process dies during the verb, saying ``words``: in start-up for a launch."""

    words: str = "out of luck"


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer comes within ``after_s``. ``done`` says whether the verb had its effect all the same."""

    after_s: float = 0.0
    done: bool = False


@dataclass(frozen=True, slots=True)
class DaemonDies:
    """The daemon is killed just before the verb, or (``done``) when it has had its effect and nobody knows."""

    done: bool = False


Fault = Refuse | Die | Silence | DaemonDies


class DaemonKilled(BaseException):
    """Raised by every verb of a driver whose daemon has been killed.

    Not an ``Exception``, because code after ``kill -9`` does not run: no handler may take it for a failure that it
    can undo. Whatever does run in a ``finally`` reaches nothing any more.
    """
