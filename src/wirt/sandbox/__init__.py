"""Adapters of the :class:`wirt.ports.sandbox.Sandbox` port.

``bubblewrap`` is the command line (pure), ``seccomp`` its filter (pure), ``uids``, ``cgroups``, ``places`` and
``facts`` what the host is asked for, and ``host`` the jail made of them. ``none`` is the port without a jail, for
hosts and tests that have none; ``choice`` says which of the two it is here.
"""

from __future__ import annotations

from wirt.sandbox.choice import best_sandbox
from wirt.sandbox.host import HostSandbox
from wirt.sandbox.none import NoSandbox

__all__ = ["HostSandbox", "NoSandbox", "best_sandbox"]
