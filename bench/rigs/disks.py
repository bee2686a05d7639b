"""Two guests with the same disks, one that wirt runs and one that a script does, each with half of one CPU; and
how fast each finds its disks, measured by the guests themselves at the same moment."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from bench.rigs.absence import NotHere
from bench.rigs.bare import bare
from bench.rigs.groups import Group, common_group
from bench.rigs.pools import MISSING, pools
from bench.rigs.processes import CPU, hold_to
from bench.rigs.shells import Send, bare_console, managed_console, wait_ready, wait_until
from bench.rigs.wirtd import Wirtd, serving
from bench.rigs.workshop import Workshop

MANAGED, BARE = "managed", "bare"
SIZE_MIB = int(os.environ.get("WIRT_BENCH_DISK_MIB", "192"))
"""Smaller where all of it is emulated twice."""
WINDOW_MS = 2000
DEPTH = 8
ANSWER_S = 60.0
_ANSWER = re.compile(rb"(?:ok=1|error)[^\r\n]*(?=[\r\n])")


@dataclass(frozen=True, slots=True)
class Kind:
    """A volume as it is made, what the entry says of it beside, and the engine that one would choose oneself."""

    name: str
    what: str
    format: str
    preallocation: str = "off"
    aio: str = "native"
    entry: str = ""
    pool: str = "default"


KINDS = (
    Kind("raw", "raw, with holes", "raw"),
    Kind("raw, whole", "raw, all of its room taken", "raw", "full", aio="native"),
    Kind("qcow2", "qcow2", "qcow2"),
    Kind("qcow2, whole", "qcow2, all of its room taken", "qcow2", "full"),
    Kind("lvm", "a logical volume", "raw", aio="native", pool="lvm"),
    Kind("lvmthin", "a thin logical volume", "raw", pool="lvmthin"),
    Kind("nfs", "raw on NFS", "raw", pool="nfs"),
    Kind("nfs, native", "raw on NFS, aio=native asked for", "raw", entry=",aio=native", pool="nfs"),
)
"""On NFS wirt takes threads unasked, which a server that is away keeps waiting in the place of the guest."""


ENGINES = (
    Kind("threads", "aio=threads", "qcow2", entry=",aio=threads"),
    Kind("native", "aio=native, as wirt chooses it", "qcow2"),
    Kind("io_uring", "aio=io_uring", "qcow2", entry=",aio=io_uring"),
    Kind("io_uring, own thread", "aio=io_uring, iothread=own", "qcow2", entry=",aio=io_uring,iothread=own"),
    Kind("through memory", "cache=writeback aio=io_uring", "qcow2", entry=",cache=writeback,aio=io_uring"),
)
"""The same image, served in each way."""


@dataclass(frozen=True, slots=True)
class Load:
    """``key`` is what the guest's answer tells it by."""

    name: str
    way: str
    order: str
    block: int
    key: str
    window_ms: int = WINDOW_MS

    def command(self, device: str) -> str:
        return f"wirt disk-speed {device} {self.way} {self.order} {self.block} {DEPTH} {self.window_ms}"


READ, WRITE = Load("read", "read", "seq", 256 << 10, "mib_s"), Load("write", "write", "seq", 256 << 10, "mib_s")
RANDOM_READ = Load("read", "read", "random", 4096, "per_s")
RANDOM_WRITE = Load("write", "write", "random", 4096, "per_s")


@dataclass(frozen=True, slots=True)
class Shell:
    send: Send
    log: Path

    def speed(self, load: Load, device: str) -> float:
        """What the guest found, in the load's unit."""
        seen = self.log.stat().st_size
        self.send(f"{load.command(device)}\n".encode())
        found: list[bytes] = []

        def answered() -> bool:
            with self.log.open("rb") as log:
                log.seek(seen)
                found[:] = _ANSWER.findall(log.read().partition(b"\n")[2])
            return bool(found)

        wait_until(answered, f"{self.log}: an answer to disk-speed", ANSWER_S)
        if not found[0].startswith(b"ok"):
            raise RuntimeError(f"disk-speed {device}: {found[0].decode()}")
        words = found[0].decode().split()
        return next(float(word.partition("=")[2]) for word in words if word.startswith(f"{load.key}="))


@dataclass(frozen=True, slots=True)
class Pair:
    """``seen``: what the bare guest had when the managed one was last measured."""

    kinds: tuple[Kind, ...]
    managed: Shell
    bare: Shell
    seen: dict[tuple[str, str], float] = field(default_factory=dict)

    def together(self, load: Load, kind: Kind) -> float:
        """The managed guest's; the bare one's is kept for when it is asked for."""
        device = f"vd{_letter(self.kinds.index(kind))}"
        with ThreadPoolExecutor(2) as threads:
            managed = threads.submit(self.managed.speed, load, device)
            self.seen[load.name, kind.name] = threads.submit(self.bare.speed, load, device).result()
            return managed.result()


class Pairs:
    """Two guests for each round. One QEMU is up to a twentieth faster than another of the same command line for as
    long as it lives, so that many rounds with the same two would tell about these two."""

    def __init__(self, kinds: tuple[Kind, ...], start: Callable[[], AbstractContextManager[Pair]]) -> None:
        self._kinds = kinds
        self._start = start
        self._running = contextlib.ExitStack()
        self._pair: Pair | None = None

    def together(self, load: Load, kind: Kind) -> float:
        """The managed guest's figure. What was measured already begins a new round."""
        self._look_for(kind)
        if self._pair is None or (load.name, kind.name) in self._pair.seen:
            self.end()
            self._pair = self._running.enter_context(self._start())
        return self._pair.together(load, kind)

    def meanwhile(self, load: Load, kind: Kind) -> float:
        """What the bare guest had when the managed one was last measured."""
        self._look_for(kind)
        if self._pair is None:
            raise RuntimeError("nothing was measured yet")
        return self._pair.seen[load.name, kind.name]

    def end(self) -> None:
        self._pair = None
        self._running.close()

    def _look_for(self, kind: Kind) -> None:
        if kind not in self._kinds:
            raise NotHere(MISSING)


def _letter(place: int) -> str:
    return chr(ord("a") + place)


def kinds_pairs(workshop: Workshop) -> AbstractContextManager[Pairs]:
    return pairs(workshop, KINDS)


def engines_pairs(workshop: Workshop) -> AbstractContextManager[Pairs]:
    return pairs(workshop, ENGINES)


@contextlib.contextmanager
def pairs(workshop: Workshop, kinds: tuple[Kind, ...]) -> Iterator[Pairs]:
    with (
        common_group(f"wirt-disks-{os.getpid()}") as group,
        serving(workshop, settings={"WIRT_JAIL": "on"}, prefix=group.prefix) as wirtd,
        pools(workshop, wirtd) as there,
    ):
        kinds = tuple(kind for kind in kinds if kind.pool in {"default", *there})
        for owner in (MANAGED, BARE):
            for place, kind in enumerate(kinds):
                _make(wirtd, f"{owner}{place}", kind)
        made = Pairs(kinds, lambda: _started(workshop, wirtd, group, kinds))
        try:
            yield made
        finally:
            made.end()


@contextlib.contextmanager
def _started(workshop: Workshop, wirtd: Wirtd, group: Group, kinds: tuple[Kind, ...]) -> Iterator[Pair]:
    """Both guests, each in its half of the CPU, with disks of which every block has been written."""
    with wirtd.cleared(MANAGED):
        domid = wirtd.create(config(workshop, MANAGED, kinds), paused=False)
        log = wirtd.console_log(domid)
        wait_ready(log)
        pid = wirtd.qemu_pid(MANAGED)
        hold_to(pid, [CPU])
        command = by_hand(wirtd.planned_command(config(workshop, BARE, kinds)), kinds)
        with managed_console(wirtd, MANAGED) as send, bare(workshop, command) as run:
            run.qmp.execute("cont")
            wait_ready(run.console_log)
            group.beside(pid, run.process.pid)
            hold_to(run.process.pid, [CPU])
            with bare_console(run.console_log.with_name("console.sock")) as send_bare:
                made = Pair(kinds, Shell(send, log), Shell(send_bare, run.console_log))
                _fill(made)
                yield made


def config(workshop: Workshop, name: str, kinds: tuple[Kind, ...]) -> str:
    entries = (f"{kind.pool}/{name}{n},,xvd{_letter(n)},rw{kind.entry}" for n, kind in enumerate(kinds))
    disks = ", ".join(f'"{entry}"' for entry in entries)
    return f"""name = "{name}"
type = "pvh"
memory = 128
kernel = "{workshop.tiny.kernel}"
ramdisk = "{workshop.tiny.initramfs}"
extra = "console=ttyS0 tick=0"
disk = [ {disks} ]
"""


def by_hand(command: Sequence[str], kinds: tuple[Kind, ...]) -> list[str]:
    """The command line with the disks as one would write them oneself: past the host's memory, the engine that
    is said to be the best for each kind, and nothing that looks at what is written."""
    words = list(command)
    for place, word in enumerate(words):
        if words[place - 1] == "-blockdev":
            words[place] = json.dumps(_node_by_hand(json.loads(word), kinds))
    return words


def _node_by_hand(node: Mapping[str, object], kinds: tuple[Kind, ...]) -> Mapping[str, object]:
    name = str(node["node-name"])
    kind = kinds[ord(name[-1]) - ord("a")]
    driver = "host_device" if kind.pool.startswith("lvm") else "file"
    file = {"driver": driver, "filename": _filename(node), "aio": kind.aio}
    cache = {"direct": True, "no-flush": False}
    return {"driver": kind.format, "node-name": name, "discard": "unmap", "cache": cache, "file": file}


def _filename(node: Mapping[str, object]) -> str:
    file = node["file"]
    assert isinstance(file, dict)
    return str(file["filename"])


def _make(wirtd: Wirtd, name: str, kind: Kind) -> None:
    body = {"size": f"{SIZE_MIB}M", "format": kind.format, "preallocation": kind.preallocation}
    wirtd.request("POST", f"/v1/volumes/{kind.pool}/{name}?wait=1", body).finished()


def _fill(made: Pair) -> None:
    """All blocks have been written once: what is measured is what a disk does that is in use."""
    for shell in (made.managed, made.bare):
        for place in range(len(made.kinds)):
            seen = shell.log.stat().st_size
            shell.send(f"wirt disk-write vd{_letter(place)} 0 {SIZE_MIB << 20} 1\n".encode())
            _wait_answer(shell.log, seen)


def _wait_answer(log: Path, seen: int) -> None:
    def answered() -> bool:
        with log.open("rb") as file:
            file.seek(seen)
            return b"mb_s=" in file.read()

    wait_until(answered, f"{log}: disk-write", ANSWER_S)
