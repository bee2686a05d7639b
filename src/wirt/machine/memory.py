"""The host's memory as Linux shows it (Linux, Documentation/admin-guide/mm/: hugetlbpage.rst, transhuge.rst,
ksm.rst; proc(5), /proc/PID/numa_maps)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from wirt.model.errors import Unavailable
from wirt.model.memory import HugeMemory, HugePool, Merging
from wirt.model.units import KIB

SYSTEM, PROC = Path("/sys/kernel/mm"), Path("/proc")
RUN, UNMERGE = "1", "2"
_POOL = re.compile(r"hugepages-(\d{1,9})kB")
_CHOSEN = re.compile(r"\[([a-z]+)\]")
_ON_NODE = re.compile(r" N(\d{1,6})=(\d{1,18})\b")
_PAGE = re.compile(r" kernelpagesize_kB=(\d{1,9})\b")


class LinuxMemory:
    """``system`` and ``proc`` stand for the machine's own."""

    def __init__(self, system: Path = SYSTEM, proc: Path = PROC) -> None:
        self._system = system
        self._proc = proc

    def huge(self) -> HugeMemory:
        chosen = _CHOSEN.search(_text(self._system / "transparent_hugepage/enabled"))
        pools = []
        for place in sorted(self._system.glob("hugepages/hugepages-*")):
            size = _POOL.fullmatch(place.name)
            if size is not None:
                total, free, promised = (
                    _number(place / name) for name in ("nr_hugepages", "free_hugepages", "resv_hugepages")
                )
                pools.append(HugePool(int(size[1]), total, free, promised))
        return HugeMemory(None if chosen is None else chosen[1], tuple(pools))

    def merging(self) -> Merging | None:
        place = self._system / "ksm"
        if not (place / "run").exists():
            return None
        return Merging(
            on=_text(place / "run").strip() == RUN,
            shared=_number(place / "pages_shared"),
            sharing=_number(place / "pages_sharing"),
            scan=_number(place / "pages_to_scan"),
            sleep_ms=_number(place / "sleep_millisecs"),
            page_bytes=os.sysconf("SC_PAGE_SIZE"),
        )

    def merge(self, *, on: bool, scan: int | None = None, sleep_ms: int | None = None) -> None:
        wanted = [("pages_to_scan", scan), ("sleep_millisecs", sleep_ms), ("run", RUN if on else UNMERGE)]
        for name, value in wanted:
            if value is None:
                continue
            try:
                (self._system / "ksm" / name).write_text(str(value))
            except OSError as error:
                raise Unavailable(
                    f"KSM can't be turned {'on' if on else 'off'}: {error.strerror}",
                    hint=f"is {self._system}/ksm there, and may wirtd write it?",
                ) from error

    def nodes_of(self, pid: int) -> Mapping[int, int]:
        found: dict[int, int] = {}
        for line in _text(self._proc / str(pid) / "numa_maps").splitlines():
            page = _PAGE.search(line)
            page_bytes = int(page[1]) * KIB if page is not None else os.sysconf("SC_PAGE_SIZE")
            for node, pages in _ON_NODE.findall(line):
                found[int(node)] = found.get(int(node), 0) + int(pages) * page_bytes
        return found


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int:
    text = _text(path).strip()
    return int(text) if text.isascii() and text.isdigit() else 0
