"""What sysfs says of CPUs and nodes is understood, and what it does not say is taken simply and told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.machine.sysfs import cpu_files, machine_files, node_files

from wirt.machine import LinuxProcessors
from wirt.machine.topology import WHOLE_MEMORY, parse
from wirt.model.errors import Unavailable
from wirt.model.units import GIB, MIB


def test_a_large_machine_is_read_whole() -> None:
    topology = parse(machine_files(nodes=8, caches=4, cores=8, threads=2))
    assert len(topology.cpus) == 512
    assert {len(cpus) for cpus in topology.caches().values()} == {16}
    assert len(topology.caches()) == 32
    assert {cpu.siblings for cpu in topology.cpus if cpu.core == 5} == {(5, 261)}
    assert topology.of_node(7) == {cpu.id for cpu in topology.cpus if cpu.package == 7}
    assert topology.nodes[0].distance(1) == 12
    assert topology.nodes[0].distance(7) == 32
    assert topology.nodes[3].memory_bytes == GIB
    assert topology.nodes[3].free_bytes == GIB // 2
    assert topology.remarks == ()


def test_without_a_numa_table_all_is_one_node() -> None:
    files = {name: text for name, text in machine_files(1, 1, 2, 1).items() if not name.startswith("node/")}
    topology = parse({**files, WHOLE_MEMORY: "MemTotal:  2048 kB\nMemFree:  1024 kB\n"})
    assert [(node.id, node.memory_bytes, node.free_bytes) for node in topology.nodes] == [(0, 2 * MIB, MIB)]
    assert topology.of_node(0) == {0, 1}
    assert "no NUMA table" in topology.remarks[0]


def test_an_empty_numa_table_is_none() -> None:
    files = {name: text for name, text in machine_files(1, 1, 2, 1).items() if not name.startswith("node/")}
    assert [node.id for node in parse({**files, "node/online": "\n"}).nodes] == [0]


def test_cpus_that_are_off_have_no_place_and_no_siblings_miss_them() -> None:
    files = machine_files(1, 1, 2, 2)
    files["cpu/online"] = "0-2\n"
    topology = parse(files)
    assert topology.offline == (3,)
    assert [cpu.siblings for cpu in topology.cpus] == [(0, 2), (1,), (0, 2)]
    assert topology.caches() == {0: {0, 1, 2}}


def test_numbers_may_have_holes() -> None:
    files = {"cpu/online": "1,4-5", "cpu/present": "1,4-6", "node/online": "2,5"}
    for cpu in (1, 4, 5):
        files |= cpu_files(cpu, [cpu], 0, [1] if cpu == 1 else [4, 5])
    files |= node_files(2, [1], 64, (10, 21)) | node_files(5, [4, 5, 6], 64, (21, 10))
    topology = parse(files)
    assert [(cpu.id, cpu.node) for cpu in topology.cpus] == [(1, 2), (4, 5), (5, 5)]
    assert topology.nodes[0].distance(5) == 21
    assert topology.offline == (6,)


def test_hybrid_cores_have_their_threads_and_their_speed() -> None:
    files = {"cpu/online": "0-3", "cpu/present": "0-3", "node/online": "0"}
    files |= node_files(0, range(4), 64, (10,))
    files |= cpu_files(0, [0, 1], 0, range(4), capacity=1024) | cpu_files(1, [0, 1], 0, range(4), capacity=1024)
    files |= cpu_files(2, [2], 0, range(4), capacity=620) | cpu_files(3, [3], 0, range(4), capacity=620)
    topology = parse(files)
    assert [(cpu.core, len(cpu.siblings), cpu.capacity) for cpu in topology.cpus] == [
        (0, 2, 1024),
        (0, 2, 1024),
        (2, 1, 620),
        (3, 1, 620),
    ]


def test_the_names_of_older_kernels_are_known() -> None:
    files = {
        name.replace("core_cpus_list", "thread_siblings_list"): text
        for name, text in machine_files(1, 1, 2, 2).items()
    }
    assert parse(files).cpus[0].siblings == (0, 2)


def test_where_caches_are_not_told_a_package_has_one() -> None:
    files = {name: text for name, text in machine_files(2, 2, 2, 1).items() if "/cache/" not in name}
    topology = parse(files)
    assert topology.caches() == {0: {0, 1, 2, 3}, 4: {4, 5, 6, 7}}
    assert "nothing of its caches" in topology.remarks[0]


def test_a_node_may_have_memory_only() -> None:
    files = machine_files(1, 1, 2, 1) | {"node/online": "0-1"} | node_files(1, [], 512, (17, 10))
    topology = parse(files)
    assert topology.of_node(1) == frozenset()
    assert topology.nodes[1].memory_bytes == 512 * MIB


def test_a_machine_that_tells_nothing_is_an_error_that_says_what_to_look_at() -> None:
    with pytest.raises(Unavailable, match="is sysfs mounted"):
        parse({})


def test_nonsense_is_named_with_its_file() -> None:
    with pytest.raises(Unavailable, match=r"cpu/online is 'half', which is no list"):
        parse({"cpu/online": "half"})


@given(st.dictionaries(st.sampled_from(sorted(machine_files(2, 1, 2, 2))), st.text(max_size=12), max_size=6))
@settings(deadline=None)
def test_whatever_files_say_is_a_topology_or_told(changed: dict[str, str]) -> None:
    try:
        topology = parse(machine_files(2, 1, 2, 2) | changed)
    except Unavailable:
        return
    assert topology.cpus
    for cpu in topology.cpus:
        assert cpu.id in cpu.siblings
        assert set(cpu.siblings) <= topology.online
        assert cpu.node in {node.id for node in topology.nodes}


def test_this_machine_tells() -> None:
    topology = LinuxProcessors().topology()
    assert os.sched_getaffinity(0) <= topology.online
    assert topology.nodes[0].memory_bytes > 0


def test_files_are_read_from_where_they_lie(tmp_path: Path) -> None:
    files = machine_files(2, 1, 2, 2)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert LinuxProcessors(tmp_path).topology() == parse(files)
