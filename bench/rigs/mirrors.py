"""One disk that is copied to another host while its guest runs: by wirt, and by two QEMUs with a script."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.rigs.bare import Bare, bare
from bench.rigs.moves import NAME, Managed, certified, managed, traveller
from bench.rigs.shells import managed_console, type_line, wait_ready
from bench.rigs.workshop import Workshop

SIZE_MIB = 512
DEVICE = "vda"
LOOK_S = 0.01
SOURCE_NODE, TARGET_NODE = "disk", "copy"


@dataclass(frozen=True, slots=True)
class Rig:
    workshop: Workshop
    managed: Managed
    command: Sequence[str]

    def by_wirt(self) -> float:
        """MiB a second."""
        receipt = self.managed.move(with_storage=True).receipt
        return float(receipt["disk_bytes"]) / float(receipt["disk_s"]) / 2**20

    def by_script(self, *, protected: bool) -> float:
        """The same, of a guest that runs and has a disk of its own."""
        source, target = (self._disk(content) for content in (b"\x5a" * 2**20, None))
        with contextlib.ExitStack() as stack:
            disk = ("-device", f"virtio-blk-pci,drive={SOURCE_NODE},addr=0x1c")
            here = stack.enter_context(bare(self.workshop, [*self.command, *node(source), *disk]))
            there = stack.enter_context(bare(self.workshop, [*self.command, *node(target)]))
            here.qmp.execute("cont")
            wait_ready(here.console_log)
            credentials = certified(self.workshop, here, there) if protected else ({}, {})
            return SIZE_MIB / mirrored_s(here, there, *credentials)

    def _disk(self, content: bytes | None) -> Path:
        path = self.workshop.folder("mirror") / "disk.raw"
        with path.open("wb") as file:
            for _ in range(SIZE_MIB if content else 0):
                file.write(content or b"")
            file.truncate(SIZE_MIB << 20)
        return path


def node(path: Path) -> tuple[str, str]:
    """A raw file as wirt serves one: past the host's memory, with Linux's own asynchronous requests."""
    file = f"file.driver=file,file.aio=native,file.cache.direct=on,file.filename={path}"
    return "-blockdev", f"driver=raw,node-name={SOURCE_NODE},cache.direct=on,{file}"


def mirrored_s(here: Bare, there: Bare, client: dict[str, object], server: dict[str, object]) -> float:
    """Seconds until both hold the same."""
    path = str(there.console_log.with_name("nbd.sock"))
    address: dict[str, object] = {"type": "unix", "data": {"path": path}}
    there.qmp.command("nbd-server-start", {"addr": address, **server})
    export: dict[str, object] = {"type": "nbd", "id": "in", "node-name": SOURCE_NODE, "writable": True}
    there.qmp.command("block-export-add", export)
    begin = time.monotonic()
    target: dict[str, object] = {"driver": "nbd", "node-name": TARGET_NODE, "export": SOURCE_NODE}
    here.qmp.command("blockdev-add", {**target, "server": {"type": "unix", "path": path}, **client})
    job: dict[str, object] = {"job-id": "mirror", "device": SOURCE_NODE, "target": TARGET_NODE, "sync": "full"}
    here.qmp.command("blockdev-mirror", {**job, "copy-mode": "write-blocking"})
    while (state := here.qmp.command("query-jobs", {})[0]["status"]) != "ready":
        if state not in ("created", "running"):
            raise RuntimeError(f"bare QEMU's mirror is {state}")
        time.sleep(LOOK_S)
    return time.monotonic() - begin


@contextlib.contextmanager
def rig(workshop: Workshop) -> Iterator[Rig]:
    guest = traveller(workshop)
    with managed(workshop, guest, f'disk = ["default/{NAME},,xvda,rw"]\n', volume=f"{SIZE_MIB}M") as made:
        with managed_console(made.hosts[0], NAME) as send:
            type_line(send, made.log, f"wirt disk-write {DEVICE} 0 {SIZE_MIB << 20} 1")
        yield Rig(workshop, made, made.hosts[0].planned_command(guest.xl_config("by-hand")))
