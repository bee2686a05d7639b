"""One guest that goes to and fro between two hosts: wirt's, libvirt's, and two QEMUs with a script."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.rigs.bare import Bare, bare
from bench.rigs.guests import Guest
from bench.rigs.libvirt import Libvirt, started
from bench.rigs.shells import wait_ready
from bench.rigs.ticks import TICK_MS, Heard, listening
from bench.rigs.wirtd import Wirtd, serving
from bench.rigs.workshop import Workshop
from wirt.hypervisors.qemu.credentials import FFDHE2048
from wirt.peers.certificates import for_one_migration
from wirt.ports.migration import Credentials

NAME = "bench"
MEMORY_MIB = 256
ARRIVAL_S = 60.0
LOOK_S = 0.01
UNBOUNDED = 1 << 40


@dataclass(frozen=True, slots=True)
class Moved:
    """``silence_s``: the longest time without a word from the guest. ``total_s``: from the beginning until it was
    heard over there; ``asked_s`` the same from the request, ``cpu_s`` what both managers used of it. ``stood_s``:
    between the source QEMU's STOP and the other one's RESUME, by their own clocks, which are one."""

    silence_s: float
    total_s: float
    asked_s: float
    stood_s: float | None = None
    cpu_s: float = 0.0
    receipt: dict[str, Any] = field(default_factory=dict)


class Events:
    """What QEMU itself wrote of its events. Open from the start: the file goes when its guest does."""

    def __init__(self, console_log: Path) -> None:
        self._file = console_log.with_name("events.log").open("rb")

    def last(self, name: str) -> float:
        """In seconds since the epoch."""
        self._file.seek(0)
        told = [json.loads(line) for line in self._file if f'"event": "{name}"'.encode() in line]
        self._file.close()
        stamp = told[-1]["timestamp"]
        return float(stamp["seconds"] + stamp["microseconds"] / 1e6)


def traveller(workshop: Workshop, more: str = "") -> Guest:
    words = f"tick={TICK_MS} {more}".strip()
    return Guest(workshop.tiny, wanted_mib=MEMORY_MIB, words=words, identity=str(uuid.uuid4()))


def _arrived(heard: Heard) -> float:
    if not heard.arrived.wait(ARRIVAL_S) or heard.arrived_at is None:
        raise TimeoutError(f"the guest was not heard on the other side within {ARRIVAL_S:g} s")
    return heard.arrived_at


@dataclass(slots=True)
class Managed:
    """Two wirtds that know each other, through TLS."""

    hosts: tuple[Wirtd, Wirtd]
    log: Path
    at: int = 0

    def move(self, **wish: object) -> Moved:
        here, there = self.hosts[self.at], self.hosts[1 - self.at]
        before = set(_runs(there))
        spent = sum(cpu_s(each.pid) for each in self.hosts)
        events = Events(self.log)

        def found() -> Path | None:
            new = next(iter(set(_runs(there)) - before), None)
            return None if new is None else new / "console.log"

        with listening(self.log, found) as heard:
            asked_at = time.time()
            body = {"target": _name(1 - self.at), **wish}
            request = here.request("POST", f"/v1/domains/{NAME}/migrate?wait=1", body)
            arrived = _arrived(heard)
            spent = sum(cpu_s(each.pid) for each in self.hosts) - spent
            receipt = request.finished()["result"]
        log = found()
        assert log is not None
        self.log, self.at = log, 1 - self.at
        stood_s = Events(log).last("RESUME") - events.last("STOP")
        total_s, asked_s = arrived - receipt["began_at"], arrived - asked_at
        return Moved(heard.silence_s, total_s, asked_s, stood_s, spent, receipt)


@contextlib.contextmanager
def managed(workshop: Workshop, guest: Guest, disk: str = "", volume: str | None = None) -> Iterator[Managed]:
    """``volume``: the size of one that is made for it, raw, under the guest's name."""
    with pair(workshop) as hosts, hosts[0].cleared(NAME), hosts[1].cleared(NAME):
        if volume is not None:
            body = {"size": volume, "format": "raw"}
            hosts[0].request("POST", f"/v1/volumes/default/{NAME}?wait=1", body).finished()
        domid = hosts[0].create(guest.xl_config(NAME) + disk, paused=False)
        log = hosts[0].console_log(domid)
        wait_ready(log)
        yield Managed(hosts, log)


@contextlib.contextmanager
def pair(workshop: Workshop) -> Iterator[tuple[Wirtd, Wirtd]]:
    """``h0`` and ``h1``."""
    places = [f"127.0.0.1:{_free_port()}" for _ in range(2)]
    with contextlib.ExitStack() as stack:
        hosts = [
            stack.enter_context(
                serving(workshop, settings={"WIRT_HOST": _name(number), "WIRT_PEER_LISTEN": place})
            )
            for number, place in enumerate(places)
        ]
        certificates = [str(host.request("GET", "/v1/peer-certificate").answer()["certificate"]) for host in hosts]
        for host, other in ((0, 1), (1, 0)):
            body = {"name": _name(other), "address": places[other], "certificate": certificates[other]}
            hosts[host].request("POST", "/v1/peers", body).answer()
        yield hosts[0], hosts[1]


def _name(number: int) -> str:
    return f"h{number}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _runs(wirtd: Wirtd) -> list[Path]:
    place = wirtd.home / "run" / "domains"
    return [entry for entry in place.iterdir() if entry.name.isdigit()] if place.is_dir() else []


def cpu_s(pid: int) -> float:
    """That a process has used so far (proc(5), stat)."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Scripted:
    """QEMU with wirt's own command line and nobody's jail; memory goes through a unix socket as it is."""

    workshop: Workshop
    command: Sequence[str]
    protected: bool
    stack: contextlib.ExitStack
    run: Bare

    def move(self) -> Moved:
        begin = time.monotonic()
        incoming = [word for word in self.command if word != "-S"]
        with contextlib.ExitStack() as stack:
            there = stack.enter_context(bare(self.workshop, [*incoming, "-incoming", "defer"]))
            launched_s = time.monotonic() - begin
            with listening(self.run.console_log, lambda: there.console_log) as heard:
                began_at = time.time() - launched_s
                carry(self.workshop, self.run, there, protected=self.protected)
                arrived = _arrived(heard)
            stood_s = Events(there.console_log).last("RESUME") - Events(self.run.console_log).last("STOP")
            self.stack.close()
            self.stack, self.run = stack.pop_all(), there
        return Moved(heard.silence_s, arrived - began_at, arrived - began_at, stood_s)


def carry(workshop: Workshop, here: Bare, there: Bare, *, protected: bool) -> None:
    """Until the source says that it is done."""
    uri = f"unix:{there.console_log.with_name('memory.sock')}"
    credentials = certified(workshop, here, there) if protected else ({}, {})
    for run, named in zip((here, there), credentials, strict=True):
        run.qmp.command("migrate-set-parameters", {"max-bandwidth": UNBOUNDED, **named})
    there.qmp.command("migrate-incoming", {"uri": uri})
    here.qmp.command("migrate", {"uri": uri})
    while (status := here.qmp.command("query-migrate", {})["status"]) != "completed":
        if status in ("failed", "cancelled"):
            raise RuntimeError(f"bare QEMU's migration is {status}")
        time.sleep(LOOK_S)


def certified(workshop: Workshop, here: Bare, there: Bare) -> tuple[dict[str, object], dict[str, object]]:
    """What names the certificates that both have been given, for the sender and the receiver."""
    receiver, sender = for_one_migration()
    for run, side, credentials in ((there, "server", receiver), (here, "client", sender)):
        directory = _written(workshop.folder("certificates"), side, credentials)
        made = {"qom-type": "tls-creds-x509", "id": f"tls-{side}", "dir": str(directory), "endpoint": side}
        run.qmp.command("object-add", {**made, "verify-peer": True})
    return {"tls-creds": "tls-client", "tls-hostname": sender.name}, {"tls-creds": "tls-server"}


def _written(directory: Path, side: str, credentials: Credentials) -> Path:
    (directory / "ca-cert.pem").write_text(credentials.authority)
    (directory / f"{side}-cert.pem").write_text(credentials.certificate)
    (directory / f"{side}-key.pem").write_text(credentials.key)
    if side == "server":
        (directory / "dh-params.pem").write_text(FFDHE2048)
    return directory


@contextlib.contextmanager
def scripted(workshop: Workshop, planned: Sequence[str], *, protected: bool = False) -> Iterator[Scripted]:
    """``protected``: by TLS, with certificates for one migration, as wirt's always is."""
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(bare(workshop, planned))
        run.qmp.execute("cont")
        wait_ready(run.console_log)
        made = Scripted(workshop, planned, protected, stack.pop_all(), run)
        try:
            yield made
        finally:
            made.stack.close()


@dataclass(slots=True)
class Virsh:
    """Two libvirtds on one machine, memory through a unix socket as it is."""

    hosts: tuple[Libvirt, Libvirt]
    guest: Guest
    at: int = 0

    def move(self) -> Moved:
        here, there = self.hosts[self.at], self.hosts[1 - self.at]
        log = there.home / f"{NAME}.console"
        log.unlink(missing_ok=True)
        description = there.define_file(self.guest, NAME, "tcg")
        memory = there.home / "run" / "memory.sock"
        with listening(here.home / f"{NAME}.console", lambda: log) as heard:
            began_at = time.time()
            virsh = here.spawn(
                *("migrate", "--live", NAME, there.address, "--xml", description),
                *("--migrateuri", f"unix://{memory}"),
            )
            arrived = _arrived(heard)
            if virsh.wait(ARRIVAL_S) != 0:
                raise subprocess.CalledProcessError(virsh.returncode, "virsh migrate")
        self.at = 1 - self.at
        return Moved(heard.silence_s, arrived - began_at, arrived - began_at)


@contextlib.contextmanager
def with_virsh(workshop: Workshop, guest: Guest) -> Iterator[Virsh]:
    """``NotHere`` where there is no libvirt."""
    with started(workshop) as one, started(workshop) as other, one.cleared(NAME), other.cleared(NAME):
        one.run("create", one.define_file(guest, NAME, "tcg"))
        wait_ready(one.home / f"{NAME}.console")
        yield Virsh((one, other), guest)
