"""Calls about what domains use. Answers are JSON objects as they came (:mod:`wirt.wire.v1_stats`)."""

from __future__ import annotations

from wirt.client import http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wirt.client.api import Api
    from wirt.client.errors import Json

SHORTEST_S, LONGEST_S = 1.0, 60.0
"""What rates can be over: between two samples, and for all that wirtd keeps."""


def stats(api: Api, refs: list[str], over_s: float, history: int = 0) -> Json:
    """A ``StatsList``: of all domains that run, or of ``refs``. ``history``: so many of the last samples too."""
    query = f"over_s={over_s:g}" + (f"&history={history}" if history else "")
    if not refs:
        return api.get(f"/v1/stats?{query}")
    documents = [api.get(f"/v1/stats?domain={http.quote(ref)}&{query}") for ref in refs]
    return {**documents[0], "domains": [each for document in documents for each in document["domains"]]}
