"""The machine's CPUs and nodes as sysfs shows them (Linux, Documentation/admin-guide/cputopology.rst and
Documentation/ABI/testing/sysfs-devices-system-cpu, stable/sysfs-devices-node): :func:`parse` is pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from wirt.model.cpulists import kernel_list
from wirt.model.errors import Unavailable
from wirt.model.text import plain
from wirt.model.topology import FULL_CAPACITY, Cpu, Node, Topology
from wirt.model.units import KIB

SYSTEM = Path("/sys/devices/system")
WHOLE_MEMORY = "meminfo"
"""/proc/meminfo, for a machine that has no nodes."""
_OF_CPU = (
    "topology/core_cpus_list",
    "topology/thread_siblings_list",
    "topology/physical_package_id",
    "cpu_capacity",
)
_OF_CACHE = ("level", "shared_cpu_list")
_OF_NODE = ("cpulist", "meminfo", "distance")
_MEMORY_ROW = re.compile(r"(?:Node +\d+ +)?(MemTotal|MemFree): +(\d+) kB")


class LinuxProcessors:
    """``root`` and ``meminfo`` stand for those of the machine itself."""

    def __init__(self, root: Path = SYSTEM, meminfo: Path = Path("/proc/meminfo")) -> None:
        self._root = root
        self._meminfo = meminfo

    def online(self) -> frozenset[int]:
        texts: dict[str, str] = {}
        self._take(texts, "cpu/online")
        return _online(texts)

    def topology(self) -> Topology:
        return parse(self.texts())

    def texts(self) -> Mapping[str, str]:
        """What the files say, by their paths below ``root``: one of 512 CPUs has about 6000."""
        texts: dict[str, str] = {}
        for name in ("cpu/online", "cpu/present", "node/online"):
            self._take(texts, name)
        for cpu in sorted(_list(texts, "cpu/online")):
            for name in _OF_CPU:
                self._take(texts, f"cpu/cpu{cpu}/{name}")
            for index in self._root.glob(f"cpu/cpu{cpu}/cache/index*"):
                for name in _OF_CACHE:
                    self._take(texts, f"cpu/cpu{cpu}/cache/{index.name}/{name}")
        for node in sorted(_list(texts, "node/online")):
            for name in _OF_NODE:
                self._take(texts, f"node/node{node}/{name}")
        if self._meminfo.exists():
            texts[WHOLE_MEMORY] = self._meminfo.read_text()
        return texts

    def _take(self, texts: dict[str, str], name: str) -> None:
        try:
            texts[name] = (self._root / name).read_text()
        except OSError:
            return  # an old kernel, a CPU that went offline this moment: parse says what that means


def parse(texts: Mapping[str, str]) -> Topology:
    """From the text of each file, by its path below /sys/devices/system. What is missing is taken as simple as it
    can be (a core of its own, one cache a package, one node), and said in a remark."""
    online = _online(texts)
    remarks = []
    nodes, node_of = _nodes(texts)
    if not nodes:
        remarks.append("the machine has no NUMA table: all of its CPUs and memory count as node 0")
        total, free = _memory(texts, WHOLE_MEMORY)
        nodes = (Node(0, total, free, {0: 10}),)
    caches = _caches(texts, online)
    if not caches:
        remarks.append("the machine tells nothing of its caches: each package counts as having one")
    cpus = tuple(_cpu(texts, cpu, online, caches, node_of.get(cpu, nodes[0].id)) for cpu in sorted(online))
    if not caches:
        cpus = _one_cache_each_package(cpus)
    offline = tuple(sorted(_list(texts, "cpu/present") - online))
    return Topology(cpus, nodes, offline, tuple(remarks))


def _online(texts: Mapping[str, str]) -> frozenset[int]:
    online = _list(texts, "cpu/online")
    if not online:
        raise Unavailable(
            "this machine does not tell which CPUs it has", hint=f"is sysfs mounted? {SYSTEM}/cpu/online is empty"
        )
    return online


def _cpu(
    texts: Mapping[str, str], cpu: int, online: frozenset[int], caches: Mapping[int, frozenset[int]], node: int
) -> Cpu:
    at = f"cpu/cpu{cpu}"
    newer, older = (_list(texts, f"{at}/{name}") for name in _OF_CPU[:2])
    siblings = tuple(sorted(((newer or older) & online) | {cpu}))
    package = max(0, _number(texts, f"{at}/topology/physical_package_id", 0))
    capacity = min(FULL_CAPACITY, max(1, _number(texts, f"{at}/cpu_capacity", FULL_CAPACITY)))
    return Cpu(cpu, siblings[0], siblings, package, min(caches.get(cpu, {cpu})), node, capacity)


def _caches(texts: Mapping[str, str], online: frozenset[int]) -> Mapping[int, frozenset[int]]:
    """The CPUs that share the last level with each CPU. One that has none (a small core beside big ones) shares it
    with itself; nothing at all if no CPU tells of any."""
    highest: dict[int, tuple[int, str]] = {}
    for name in texts:
        place, _, leaf = name.rpartition("/")
        if leaf == "level" and "/cache/index" in place:
            cpu = int(place.split("/")[1].removeprefix("cpu"))
            highest[cpu] = max(highest.get(cpu, (0, "")), (_number(texts, name, 0), place))
    return {
        cpu: (_list(texts, f"{place}/shared_cpu_list") & online) | {cpu} for cpu, (_, place) in highest.items()
    }


def _one_cache_each_package(cpus: tuple[Cpu, ...]) -> tuple[Cpu, ...]:
    first: dict[int, int] = {}
    for cpu in cpus:
        first.setdefault(cpu.package, cpu.id)
    return tuple(
        Cpu(cpu.id, cpu.core, cpu.siblings, cpu.package, first[cpu.package], cpu.node, cpu.capacity)
        for cpu in cpus
    )


def _nodes(texts: Mapping[str, str]) -> tuple[tuple[Node, ...], Mapping[int, int]]:
    """And the node of each CPU. Nodes may have holes in their numbers; distances are in the order of the nodes
    that are online."""
    numbers = sorted(_list(texts, "node/online"))
    nodes, node_of = [], {}
    for number in numbers:
        at = f"node/node{number}"
        node_of.update(dict.fromkeys(_list(texts, f"{at}/cpulist"), number))
        words = texts.get(f"{at}/distance", "").split()
        distances = {other: int(word) for other, word in zip(numbers, words, strict=False) if word.isdecimal()}
        nodes.append(Node(number, *_memory(texts, f"{at}/meminfo"), distances))
    return tuple(nodes), node_of


def _memory(texts: Mapping[str, str], name: str) -> tuple[int, int]:
    """In all, and free."""
    rows = {row: int(kib) * KIB for row, kib in _MEMORY_ROW.findall(texts.get(name, ""))}
    return rows.get("MemTotal", 0), rows.get("MemFree", 0)


def _list(texts: Mapping[str, str], name: str) -> frozenset[int]:
    text = texts.get(name, "").strip()
    try:
        return kernel_list(text)
    except ValueError as error:
        raise Unavailable(
            f"{SYSTEM}/{name} is {plain(text, 80)!r}, which is no list of numbers",
            hint="wirt must know this machine's CPUs: the file should look like 0-3,8",
        ) from error


def _number(texts: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(texts[name])
    except (KeyError, ValueError):
        return default
