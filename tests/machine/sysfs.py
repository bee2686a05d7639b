"""The files of machines that nobody has here, as text."""

from __future__ import annotations

from collections.abc import Iterable

from wirt.model.cpulists import list_text


def cpu_files(
    cpu: int, siblings: Iterable[int], package: int, last_level: Iterable[int], *, capacity: int | None = None
) -> dict[str, str]:
    at = f"cpu/cpu{cpu}"
    files = {
        f"{at}/topology/core_cpus_list": f"{list_text(siblings)}\n",
        f"{at}/topology/physical_package_id": f"{package}\n",
        f"{at}/cache/index0/level": "1\n",
        f"{at}/cache/index0/shared_cpu_list": f"{list_text(siblings)}\n",
        f"{at}/cache/index3/level": "3\n",
        f"{at}/cache/index3/shared_cpu_list": f"{list_text(last_level)}\n",
    }
    if capacity is not None:
        files[f"{at}/cpu_capacity"] = f"{capacity}\n"
    return files


def node_files(node: int, cpus: Iterable[int], mib: int, distances: Iterable[int]) -> dict[str, str]:
    at = f"node/node{node}"
    return {
        f"{at}/cpulist": f"{list_text(cpus)}\n",
        f"{at}/meminfo": f"Node {node} MemTotal:    {mib * 1024} kB\nNode {node} MemFree:   {mib * 512} kB\n"
        f"Node {node} MemUsed:    {mib * 512} kB\n",
        f"{at}/distance": " ".join(map(str, distances)) + "\n",
    }


def machine_files(nodes: int, caches: int, cores: int, threads: int, *, mib: int = 1024) -> dict[str, str]:
    """``caches`` a node, ``cores`` a cache, ``threads`` a core, numbered as x86 does: first all first threads."""
    cores_in_all = nodes * caches * cores
    of_core = [range(core, cores_in_all * threads, cores_in_all) for core in range(cores_in_all)]
    everything = range(cores_in_all * threads)
    files = {"cpu/online": list_text(everything), "cpu/present": list_text(everything)}
    files["node/online"] = list_text(range(nodes))
    for node in range(nodes):
        first = node * caches * cores
        in_node = [cpu for core in range(first, first + caches * cores) for cpu in of_core[core]]
        distances = [10 if other == node else 12 if other // 4 == node // 4 else 32 for other in range(nodes)]
        files |= node_files(node, in_node, mib, distances)
        for cache in range(caches):
            begin = first + cache * cores
            shared = [cpu for core in range(begin, begin + cores) for cpu in of_core[core]]
            for core in range(begin, begin + cores):
                for cpu in of_core[core]:
                    files |= cpu_files(cpu, of_core[core], node, shared)
    return files
