"""One guest of each manager with a disk and a card that can be limited while it runs; and what it gets of them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.rigs.absence import NotHere
from bench.rigs.disks import Load, Shell
from bench.rigs.groups import common_group
from bench.rigs.guests import Guest
from bench.rigs.libvirt import Libvirt
from bench.rigs.managed import LIBVIRT, WIRT, ByWirt, Manager, by_libvirt, timed
from bench.rigs.namespace import own_namespace, run
from bench.rigs.processes import CommandFailed
from bench.rigs.shells import wait_ready
from bench.rigs.traffic import serve
from bench.rigs.wirtd import Wirtd, serving
from bench.rigs.workshop import Workshop

NAME = "limited"
HOST, ADDRESSES = "10.79.0.1", {WIRT: "10.79.0.11", LIBVIRT: "10.79.0.12"}
DISK_MIB = 8
_MAC = "52:54:00:79:00:12"


@dataclass(frozen=True, slots=True)
class DiskLimit:
    """0 is none. A burst may take ``burst_s`` seconds."""

    iops: int = 0
    bps: int = 0
    iops_burst: int = 0
    burst_s: int = 1


class Limits(Protocol):
    """Seconds until the manager has answered, which it does when it holds."""

    def disk(self, limit: DiskLimit) -> float: ...

    def card(self, out_mbit: int, in_mbit: int) -> float:
        """0 is none."""
        ...


@dataclass(frozen=True, slots=True)
class WirtLimits:
    wirtd: Wirtd

    def disk(self, limit: DiskLimit) -> float:
        given = {"iops": limit.iops, "bps": limit.bps, "iops-burst": limit.iops_burst}
        words = {name: str(number) for name, number in given.items() if number}
        if limit.iops_burst:
            words["burst-seconds"] = str(limit.burst_s)
        return self._ask("disk-qos/xvda", {"words": words, "anew": True})

    def card(self, out_mbit: int, in_mbit: int) -> float:
        rates = {"rate": out_mbit, "rate_in": in_mbit}
        return self._ask("vifs/0/rate", {name: f"{mbit}Mb/s" if mbit else "" for name, mbit in rates.items()})

    def _ask(self, target: str, body: object) -> float:
        whole = f"/v1/domains/{NAME}/{target}?wait=1"
        return timed(lambda: self.wirtd.request("POST", whole, body).finished())


@dataclass(frozen=True, slots=True)
class LibvirtLimits:
    libvirt: Libvirt

    def disk(self, limit: DiskLimit) -> float:
        words = ["--total-iops-sec", limit.iops, "--total-bytes-sec", limit.bps]
        words += ["--total-iops-sec-max", limit.iops_burst]
        words += ["--total-iops-sec-max-length", limit.burst_s if limit.iops_burst else 0]
        return self.libvirt.run("blkdeviotune", NAME, "vda", "--live", *map(str, words))

    def card(self, out_mbit: int, in_mbit: int) -> float:
        """libvirt counts in KiB a second. ``NotHere`` where the kernel has not got what it does it with."""
        out, into = (mbit * 1_000_000 // 8 // 1024 for mbit in (out_mbit, in_mbit))
        words = ("domiftune", NAME, _MAC, "--live", "--outbound", str(out), "--inbound", str(into))
        try:
            return self.libvirt.run(*words)
        except CommandFailed as failed:
            if "qdisc kind is unknown" in str(failed):
                raise NotHere("libvirt limits cards by tc-sfq(8), which this kernel has not got") from failed
            raise


@dataclass(frozen=True, slots=True)
class Limited:
    manager: Manager
    limits: Limits
    log: Path
    address: str
    device: str
    """The host's end of the card."""

    def passed_bytes(self, way: str) -> int:
        """Of frames, ``out`` of the guest or ``in``, until now."""
        told = json.loads(run("ip", "-j", "-s", "link", "show", "dev", self.device))
        return int(told[0]["stats64"]["rx" if way == "out" else "tx"]["bytes"])

    def disk_speed(self, load: Load) -> float:
        with self.manager.console(NAME) as send:
            return Shell(send, self.log).speed(load, "vda")


@dataclass(frozen=True, slots=True)
class Rig:
    guests: Mapping[str, Limited | NotHere]

    def of(self, manager: str) -> Limited:
        found = self.guests[manager]
        if isinstance(found, NotHere):
            raise found
        return found


@contextlib.contextmanager
def limited(workshop: Workshop) -> Iterator[Rig]:
    with (
        own_namespace(),
        common_group(f"wirt-limited-{os.getpid()}") as group,
        serving(workshop, settings={"WIRT_JAIL": "on"}, prefix=group.prefix) as wirtd,
        ExitStack() as stack,
    ):
        run("ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
        run("ip", "address", "add", f"{HOST}/24", "dev", "br0")
        run("ip", "link", "set", "br0", "up")
        volume = {"size": f"{DISK_MIB}M", "format": "raw", "preallocation": "full"}
        wirtd.request("POST", "/v1/volumes/default/limited?wait=1", volume).finished()
        managed = _started(workshop, ByWirt(wirtd), WirtLimits(wirtd), WIRT, stack)
        yield Rig({WIRT: managed, LIBVIRT: _by_libvirt(workshop, stack)})


def _by_libvirt(workshop: Workshop, stack: ExitStack) -> Limited | NotHere:
    disk = workshop.folder("disk") / "limited.raw"
    disk.write_bytes(b"w" * (DISK_MIB << 20))
    devices = (
        f"<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none' io='native'/>"
        f"<source file='{disk}'/><target dev='vda' bus='virtio'/></disk>"
        f"<interface type='bridge'><mac address='{_MAC}'/><source bridge='br0'/><model type='virtio'/></interface>"
    )
    try:
        manager = stack.enter_context(by_libvirt(workshop, devices))
        return _started(workshop, manager, LibvirtLimits(manager.libvirt), LIBVIRT, stack)
    except NotHere as missing:
        return missing


def _started(workshop: Workshop, manager: Manager, limits: Limits, which: str, stack: ExitStack) -> Limited:
    address = ADDRESSES[which]
    more = f'disk = [ "default/limited,,xvda,rw" ]\nvif = [ "bridge=br0,ip={address}/24" ]'
    guest = Guest(workshop.tiny, words=f"tick=0 ip={address}/24", more=more)
    before = _devices()
    log = stack.enter_context(manager.start(guest, NAME))
    (device,) = _devices() - before
    wait_ready(log)
    with manager.console(NAME) as send:
        serve(send, log)
    return Limited(manager, limits, log, address, device)


def _devices() -> set[str]:
    return {link["ifname"] for link in json.loads(run("ip", "-j", "link", "show", "master", "br0") or "[]")}
