"""Waiting for a domain: the server answers each long-poll, the deadline is kept here."""

from __future__ import annotations

import time

from wirt.client.errors import ApiProblem, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wirt.client.api import Api
    from wirt.client.errors import Json

POLL_S = 30.0
_TICK_S = 0.1
ENDED = "ended"
"""The run is over, and what ``on_poweroff`` and its like demand has been done."""


def deadline_of(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s


def until(
    api: Api, ref: str, states: str, deadline: float | None, otherwise: str, late: Callable[[], None] | None = None
) -> Json:
    """The ``Domain`` once it is in one of ``states`` (with commas between them); :class:`TimedOut`, saying
    ``otherwise``, after ``deadline`` (monotonic). ``late`` is called once if it takes long."""
    while True:
        domain = api.wait(ref, states, _slice_s(deadline))
        if domain is not None:
            return domain
        _pause(deadline, ref, otherwise)
        if late is not None:
            late()
            late = None


def until_ended(api: Api, ref: str, deadline: float | None, late: Callable[[], None] | None = None) -> None:
    """Returns when the run of ``ref`` is over: the domain is off or gone, runs anew, or what is left of it was
    kept (``on_poweroff = "preserve"``), as ``xl shutdown -w`` understands it. ``late`` as for :func:`until`."""
    try:
        until(api, ref, ENDED, deadline, "is still running", late)
    except ApiProblem as problem:
        if problem.status != 404:
            raise


def until_rebooted(api: Api, ref: str, domid: object, since: float, deadline: float | None) -> None:
    """Returns when ``ref`` runs anew since ``since`` (monotonic), or is gone: it has another ID, or has been up
    for less time than has passed."""
    while True:
        try:
            domain = api.domain(ref).get("domain")
        except ApiProblem as problem:
            if problem.status == 404:
                return
            raise
        if isinstance(domain, dict) and domain.get("domid") is not None:
            uptime_s = domain.get("uptime_s")
            young = isinstance(uptime_s, int | float) and uptime_s < time.monotonic() - since
            if domain["domid"] != domid or young:
                return
        _pause(deadline, ref, "has not rebooted")


def _slice_s(deadline: float | None) -> float:
    return POLL_S if deadline is None else min(POLL_S, max(0.001, deadline - time.monotonic()))


def _pause(deadline: float | None, ref: str, what: str) -> None:
    """Between two questions: a moment, so that a server that does not wait is not drowned."""
    if deadline is not None and time.monotonic() >= deadline:
        raise TimedOut(f"domain {ref} {what}, and the time is over", hint="wirt list shows how it is")
    time.sleep(_TICK_S)
