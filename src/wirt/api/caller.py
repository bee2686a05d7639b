"""Who calls: a peer, known by its certificate, or somebody at the host's own socket."""

from __future__ import annotations

from fastapi import Request

CALLER = "peer"
"""The name of the state of a request that holds which peer it comes from, known by its certificate."""


def caller(request: Request) -> str | None:
    """The name, here, of the peer that calls; ``None`` for whoever came by the host's own socket."""
    found = getattr(request.state, CALLER, None)
    return found if isinstance(found, str) else None
