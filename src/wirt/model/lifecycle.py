"""A domain's states, the moves between them, and what follows when a run of it ends."""

from __future__ import annotations

from enum import StrEnum

from wirt.model.errors import IllegalState


class State(StrEnum):
    """What an incarnation is doing. ``OFF`` means that there is none."""

    OFF = "off"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    SHUTDOWN = "shutdown"
    CRASHED = "crashed"
    DYING = "dying"


class EndReason(StrEnum):
    """Why a run ended, as far as the guest or its hypervisor let us know."""

    POWEROFF = "poweroff"
    REBOOT = "reboot"
    CRASH = "crash"
    WATCHDOG = "watchdog"
    SOFT_RESET = "soft-reset"
    DESTROYED = "destroyed"


class Action(StrEnum):
    """Values of ``on_poweroff`` and its siblings (xl.cfg(5), "Event Actions")."""

    DESTROY = "destroy"
    RESTART = "restart"
    RENAME_RESTART = "rename-restart"
    PRESERVE = "preserve"
    COREDUMP_DESTROY = "coredump-destroy"
    COREDUMP_RESTART = "coredump-restart"
    SOFT_RESET = "soft-reset"


_MOVES: dict[State, frozenset[State]] = {
    State.OFF: frozenset({State.STARTING}),
    # A run that is adopted is found in whatever state it got to meanwhile.
    State.STARTING: frozenset(State) - {State.STARTING},
    State.RUNNING: frozenset({State.PAUSED, State.SHUTDOWN, State.CRASHED, State.DYING, State.OFF}),
    State.PAUSED: frozenset({State.RUNNING, State.SHUTDOWN, State.CRASHED, State.DYING, State.OFF}),
    State.SHUTDOWN: frozenset({State.RUNNING, State.PAUSED, State.DYING, State.OFF}),
    State.CRASHED: frozenset({State.RUNNING, State.PAUSED, State.DYING, State.OFF}),
    State.DYING: frozenset({State.OFF}),
}


def move(name: str, now: State, then: State) -> State:
    """``then``, if a domain called ``name`` may go there from ``now``.

    Raises :class:`IllegalState` with both states named. Staying where one is always is a move.
    """
    if then is now or then in _MOVES[now]:
        return then
    raise IllegalState(f"domain {name} is {now} and can't become {then}")


def flags(state: State, *, blocked: bool) -> str:
    """``xl list``'s six letters ``rbpscd`` (xl(1), "list"): running, blocked, paused, shutdown, crashed,
    dying. ``blocked`` says that a running domain's vCPUs all wait."""
    marks = {
        State.RUNNING: "-b----" if blocked else "r-----",
        State.PAUSED: "--p---",
        State.SHUTDOWN: "---s--",
        State.CRASHED: "----c-",
        State.DYING: "-----d",
    }
    return marks.get(state, "------")
