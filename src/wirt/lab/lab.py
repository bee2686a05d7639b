"""A whole lab: up, down, and what is done to its hosts and links."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from wirt.cli.verbs import VERBS
from wirt.lab import links, namespaces, state
from wirt.lab.commands import check_able
from wirt.lab.errors import LabError
from wirt.lab.hosts import LabHost
from wirt.lab.plan import LINKS, MIGRATION, SHARED_POOL, LabPlan, checked_rate, lab_plan
from wirt.lab.processes import end_all

DEFAULT_PLACE = Path("/var/lib/wirt-labs")
Say = Callable[[str], None]
T = TypeVar("T")


class Lab:
    """A lab that is there. As a context manager it is taken down at the end."""

    def __init__(self, plan: LabPlan) -> None:
        self.plan = plan
        self.name = plan.name
        self.hosts = tuple(LabHost(host) for host in plan.hosts)

    @classmethod
    def up(
        cls,
        name: str = "lab",
        hosts: int = 3,
        directory: Path | None = None,
        bandwidth_bits_per_s: int | None = 10**9,
        say: Say = lambda text: None,
    ) -> Self:
        """Made from nothing; what was made so far is removed if it can't be. ``directory`` must be empty or not
        there, for ``down`` removes it."""
        check_able()
        directory = (directory or DEFAULT_PLACE / name).absolute()
        plan = lab_plan(name, hosts, directory)
        if bandwidth_bits_per_s is not None:
            checked_rate(bandwidth_bits_per_s)
        with state.locked():
            _refuse_existing(plan)
            state.write(plan)
            lab = cls(plan)
            try:
                lab._make(bandwidth_bits_per_s, say)
            except BaseException:
                with contextlib.suppress(LabError):
                    lab._remove()
                raise
        return lab

    @classmethod
    def find(cls, name: str = "lab") -> Self:
        plan = state.read(name)
        if plan is None:
            there = ", ".join(state.names()) or "none"
            raise LabError(f"there is no lab {name}", f"labs here: {there}; make it: wirt lab up --name {name}")
        return cls(plan)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def down(self) -> None:
        """Ends all that runs in it, and removes it with the disks of its guests."""
        check_able()
        with state.locked():
            self._remove()

    def host(self, name: str) -> LabHost:
        self.plan.host(name)
        return next(host for host in self.hosts if host.name == name)

    # Links

    def bandwidth(self, host: str, bytes_per_s: int | None, link: str = MIGRATION) -> None:
        """Of one host's link, each way; ``None`` is no limit."""
        rate = None if bytes_per_s is None else checked_rate(bytes_per_s * 8)
        links.limit(self.plan, self.plan.host(host), link, rate)

    def cut(self, host: str, link: str = MIGRATION) -> None:
        links.cut(self.plan, self.plan.host(host), link)

    def mend(self, host: str, link: str = MIGRATION) -> None:
        links.mend(self.plan, self.plan.host(host), link)

    # Hosts

    def kill_daemon(self, host: str) -> None:
        self.host(host).kill_daemon()

    def start_daemon(self, host: str) -> None:
        self.host(host).start_daemon()

    def lose_power(self, host: str) -> None:
        self.host(host).lose_power()

    def entered(self, place: str) -> tuple[str, ...]:
        """The words before a command that runs on host ``place``, or beside the switches (``net``)."""
        return namespaces.entered(self.plan.switches if place == "net" else self.plan.host(place).namespace)

    def answers(self, address: str, within_s: float = 2, place: str = "net") -> bool:
        """Whether ``address`` answers an echo request from ``place``: a host, or beside the switches, where guests
        are reached as from outside all hosts."""
        command = [*self.entered(place), sys.executable, "-m", "wirt.lab.probe", address, str(within_s)]
        return subprocess.run(command, capture_output=True, timeout=within_s + 60, check=False).returncode == 0

    # Up and down

    def _make(self, rate_bits_per_s: int | None, say: Say) -> None:
        say("namespaces and links ...")
        for namespace in self.plan.namespaces:
            namespaces.make(namespace)
        links.make_switches(self.plan)
        for planned in self.plan.hosts:
            links.connect(self.plan, planned)
            if rate_bits_per_s is not None:
                for link in LINKS:
                    links.limit(self.plan, planned, link, rate_bits_per_s)
        say("daemons ...")
        started = [(host, host.spawn_daemon()) for host in self.hosts]
        for host, process in started:
            host.await_daemon(process)
        self._at_once(lambda host: host.wirt("pool", "create", "local", "--target", str(host.home / "pool")))
        say("a pool that all hosts have ...")
        for host in self.hosts:  # one after the other: the first one makes it
            host.wirt("pool", "create", SHARED_POOL, "--target", str(self.plan.shared))
        if "peer" in VERBS and len(self.hosts) > 1:
            say("hosts get to know each other ...")
            self._pair()

    def _pair(self) -> None:
        certificates = self._at_once(lambda host: host.wirt("peer", "certificate"))

        def know(host: LabHost) -> None:
            for other, certificate in zip(self.hosts, certificates, strict=True):
                if other is not host:
                    words = ("peer", "add", other.name, other.plan.address, "--certificate", "-")
                    host.wirt(*words, stdin=certificate)

        self._at_once(know)

    def _at_once(self, act: Callable[[LabHost], T]) -> list[T]:
        """Most of what a host is asked is the start of a command."""
        with ThreadPoolExecutor(len(self.hosts)) as threads:
            return list(threads.map(act, self.hosts))

    def _remove(self) -> None:
        """Also of a lab that is half made, or half removed."""
        for host in self.hosts:
            end_all(host.home)
        for host in self.hosts:
            host.clear()
        for namespace in self.plan.namespaces:
            namespaces.remove(namespace)
        if self.plan.directory.exists():
            shutil.rmtree(self.plan.directory)
        with contextlib.suppress(OSError):
            DEFAULT_PLACE.rmdir()
        state.forget(self.name)


def _refuse_existing(plan: LabPlan) -> None:
    down = f"wirt lab down --name {plan.name}"
    if state.read(plan.name) is not None:
        raise LabError(f"there is a lab {plan.name}, whole or in part", f"remove it: {down}")
    if there := namespaces.existing(plan.namespaces):
        raise LabError(f"there is a network namespace {there[0]}, of no lab known here", "choose another --name")
    if plan.directory.exists() and (not plan.directory.is_dir() or any(plan.directory.iterdir())):
        raise LabError(f"{plan.directory} is not an empty directory", "choose another --dir")
