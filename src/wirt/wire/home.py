"""Where everything that belongs to one host lives: known to the daemon and to whoever looks for it.

Strings and ``os.path`` only: the command line pays for every import.
"""

from __future__ import annotations

import os
from collections.abc import Mapping


class Home:
    """``state`` survives a boot of the host, ``run`` need not. Both are private to their owner.

    No dataclass: importing ``dataclasses`` alone takes as long as starting Python.
    """

    __slots__ = ("run", "state")

    def __init__(self, state: str, run: str) -> None:
        self.state = state
        self.run = run

    @property
    def socket(self) -> str:
        return os.path.join(self.run, "wirtd.sock")

    @property
    def lock(self) -> str:
        return os.path.join(self.run, "wirtd.lock")

    @property
    def log(self) -> str:
        return os.path.join(self.state, "log", "wirtd.log")

    @property
    def store(self) -> str:
        return os.path.join(self.state, "state.db")

    @property
    def domains(self) -> str:
        """Each run's sockets and logs, in a directory named by its domid."""
        return os.path.join(self.run, "domains")

    @property
    def images(self) -> str:
        return os.path.join(self.state, "images")

    @property
    def boot(self) -> str:
        """Kernels that came along with domains from other hosts."""
        return os.path.join(self.state, "boot")

    @property
    def mounts(self) -> str:
        """Where storage pools on servers are mounted."""
        return os.path.join(self.state, "mounts")

    @property
    def dumps(self) -> str:
        return os.path.join(self.state, "dump")

    @property
    def cache(self) -> str:
        return os.path.join(self.state, "cache")


def find_home(environment: Mapping[str, str], uid: int) -> Home:
    """``WIRT_HOME=DIR`` puts all under one directory; without it the system's directories for root and the
    XDG base directories for others (XDG Base Directory Specification 0.8)."""
    chosen = environment.get("WIRT_HOME")
    if chosen:
        root = os.path.abspath(chosen)
        return Home(state=root, run=os.path.join(root, "run"))
    if uid == 0:
        return Home(state="/var/lib/wirt", run="/run/wirt")
    data = environment.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    state = os.path.join(data, "wirt")
    runtime = environment.get("XDG_RUNTIME_DIR")
    return Home(state=state, run=os.path.join(runtime, "wirt") if runtime else os.path.join(state, "run"))
