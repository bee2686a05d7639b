"""Running a card's own script (``script=`` of a vif)."""

from __future__ import annotations

import os

from wirt.model.errors import Unavailable
from wirt.model.text import plain
from wirt.plan.scripts import Action, VifScript
from wirt.ports.process import finish

DEADLINE_S = 30.0
_MOST_WORDS = 400


async def run(script: VifScript, action: Action) -> None:
    """``Unavailable`` with the script's own last words if it fails, can't be started, or takes longer than
    :data:`DEADLINE_S`: then it is ended, with all that it started."""
    what = f"{script.path} {action} for {script.tap}"
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", **script.environment()}
    try:
        ended = await finish(
            script.arguments(action), deadline_s=DEADLINE_S, environment=environment, together=True
        )
    except TimeoutError as error:
        raise Unavailable(f"{what}: it took longer than {DEADLINE_S:g} s and was ended") from error
    except OSError as error:
        raise Unavailable(
            f"{what}: it can't be started: {error.strerror}", hint="name a program: script=/path"
        ) from error
    if ended.code:
        words = plain(ended.out.decode(errors="replace").strip()[-_MOST_WORDS:]) or "it said nothing"
        raise Unavailable(f"{what}: it ended with {ended.code}: {words}")
