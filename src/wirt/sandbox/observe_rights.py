"""Who a process is and what it may do: credentials of all threads, namespaces, limits, ancestry, environment.

Sources: proc(5), proc_pid_status(5), capabilities(7), namespaces(7).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from wirt.plan.observed import CAPABILITY_SETS, Limit, Rights

MOST_BYTES = 1 << 20
MOST_THREADS = 4096
MOST_PARENTS = 32
MOST_NAMES = 1000

_CAPABILITY_LINES = dict(zip(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), CAPABILITY_SETS, strict=True))
_LIMITS = {
    "Max core file size": "core",
    "Max file size": "file",
    "Max open files": "files",
    "Max processes": "processes",
    "Max msgqueue size": "queues",
}
_SECRET = re.compile(rb"(?:^|[,.;?&\s])(password|passwd|secret|token|key-secret-data)=[^,\s]", re.IGNORECASE)
_SECRET_OBJECT = re.compile(rb"^secret[a-z_]*,.*\bdata=")


def started_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; ``None`` when it is gone, or a zombie."""
    try:
        fields = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except OSError:
        return None
    return int(fields[19]) if len(fields) > 19 and fields[0] not in (b"Z", b"X") else None


def read(path: str) -> bytes:
    """At most :data:`MOST_BYTES`."""
    with Path(path).open("rb") as file:
        return file.read(MOST_BYTES)


def link(path: str) -> str:
    return str(Path(path).readlink())


def names(directory: str) -> list[str]:
    return [entry.name for entry in os.scandir(directory)]


def program(pid: int) -> str:
    return link(f"/proc/{pid}/exe")


def parents(pid: int) -> tuple[tuple[int, str], ...]:
    """From its parent upwards, as (pid, name)."""
    found = []
    for _ in range(MOST_PARENTS):
        pid = int(_fields(read(f"/proc/{pid}/status"))["PPid"])
        if pid == 0:
            break
        found.append((pid, _fields(read(f"/proc/{pid}/status")).get("Name", "")))
    return tuple(found)


def rights(pid: int) -> Rights:
    """A capability, or the lack of a filter, may be one thread's alone."""
    threads = [_fields(text) for text in _each_thread(pid, "status")]
    if not threads:
        raise ProcessLookupError(3, "it has ended")
    capabilities = {
        name: _or(int(thread[line], 16) for thread in threads) for line, name in _CAPABILITY_LINES.items()
    }
    return Rights(
        threads=len(threads),
        uids=frozenset(int(word) for thread in threads for word in thread["Uid"].split()),
        gids=frozenset(int(word) for thread in threads for word in thread["Gid"].split()),
        groups=frozenset(int(word) for thread in threads for word in thread["Groups"].split()),
        capabilities=capabilities,
        no_new_privs=all(thread["NoNewPrivs"] == "1" for thread in threads),
        seccomp_modes=frozenset(int(thread["Seccomp"]) for thread in threads),
        filters=min(int(thread.get("Seccomp_filters", "0")) for thread in threads),
        tracer=max(int(thread.get("TracerPid", "0")) for thread in threads),
    )


def _each_thread(pid: int, file: str) -> Iterator[bytes]:
    for count, name in enumerate(names(f"/proc/{pid}/task")):
        if count >= MOST_THREADS:
            raise ValueError("too many threads")
        try:
            yield read(f"/proc/{pid}/task/{name}/{file}")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended just now


def thread_groups(pid: int) -> frozenset[bytes]:
    """The different contents of /proc/PID/task/TID/cgroup: a thread may be elsewhere than the others."""
    return frozenset(_each_thread(pid, "cgroup"))


def _fields(text: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in os.fsdecode(text).split("\n"))
    return {name: value.strip() for name, _, value in pairs}


def _or(masks: Iterator[int]) -> int:
    together = 0
    for mask in masks:
        together |= mask
    return together


def namespaces(pid: int) -> Mapping[str, bool]:
    """Whether each is another than ours."""
    kinds = [name for name in sorted(names("/proc/self/ns")) if not name.endswith("_for_children")]
    return {kind: _namespace(str(pid), kind) != _namespace("thread-self", kind) for kind in kinds}


def _namespace(whose: str, kind: str) -> str:
    return link(f"/proc/{whose}/ns/{kind}")


def limits(pid: int) -> Mapping[str, Limit]:
    """Those of :data:`_LIMITS`, in the units that setrlimit(2) has for them."""
    found = {}
    for line in os.fsdecode(read(f"/proc/{pid}/limits")).split("\n")[1:]:
        for title, name in _LIMITS.items():
            if line.startswith(title):
                soft, hard = line.removeprefix(title).split()[:2]
                found[name] = Limit(_bound(soft), _bound(hard))
    return found


def _bound(word: str) -> int | None:
    return None if word == "unlimited" else int(word)


def environment(pid: int) -> tuple[str, ...]:
    """The names only: a value may be a secret."""
    words = [word for word in read(f"/proc/{pid}/environ").split(b"\0") if word]
    return tuple(sorted(os.fsdecode(word.partition(b"=")[0]) for word in words[:MOST_NAMES]))


def secrets(pid: int) -> tuple[str, ...]:
    """The options of its command line, which every user of the host may read, that seem to carry a secret."""
    words = read(f"/proc/{pid}/cmdline").split(b"\0")
    found = []
    for before, word in zip([b"", *words], words, strict=False):
        match = _SECRET.search(word) or (_SECRET_OBJECT.search(word) if before == b"-object" else None)
        if match is not None:
            option = before if before.startswith(b"-") else b"a word"
            what = match[1] if match.lastindex else b"data"
            found.append(os.fsdecode(option + b" ... " + what + b"="))
    return tuple(found)
