"""Which sandbox this host gets: a jail wherever one can be built."""

from __future__ import annotations

from wirt.model.errors import Unavailable
from wirt.ports.sandbox import Sandbox
from wirt.sandbox.host import HostSandbox
from wirt.sandbox.none import NoSandbox


async def best_sandbox(*, wanted: bool = True) -> Sandbox:
    """A jail, once one was built for trial; without one guests run all the same, and the sandbox's claims say what
    holds then, and why no more."""
    if not wanted:
        return NoSandbox("the setting jail is off")
    try:
        sandbox = HostSandbox.here()
    except Unavailable as error:
        return NoSandbox(f"{error.message}; {error.hint}" if error.hint else error.message)
    refusal = await sandbox.refusal()
    return sandbox if refusal is None else NoSandbox(refusal)
