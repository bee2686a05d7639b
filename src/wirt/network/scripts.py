"""Running a card's own script (``script=`` of a vif)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from wirt.model.errors import Unavailable
from wirt.model.text import plain
from wirt.plan.scripts import Action, VifScript

DEADLINE_S = 30.0
_MOST_WORDS = 400


async def run(script: VifScript, action: Action, deadline_s: float = DEADLINE_S) -> None:
    """``Unavailable`` with the script's own last words if it fails, can't be started, or takes longer than
    ``deadline_s``: then it is ended, with all that it started."""
    what = f"{script.path} {action} for {script.tap}"
    try:
        process = await asyncio.create_subprocess_exec(
            *script.arguments(action),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", **script.environment()},
            start_new_session=True,
        )
    except OSError as error:
        raise Unavailable(
            f"{what}: it can't be started: {error.strerror}", hint="name a program: script=/path"
        ) from error
    try:
        async with asyncio.timeout(deadline_s):
            said, _ = await process.communicate()
    except TimeoutError as error:
        raise Unavailable(f"{what}: it took longer than {deadline_s:g} s and was ended") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        words = plain(said.decode(errors="replace").strip()[-_MOST_WORDS:]) or "it said nothing"
        raise Unavailable(f"{what}: it ended with {process.returncode}: {words}")
