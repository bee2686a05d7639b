"""Lists of CPUs mean what Xen and the kernel mean by them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wirt.model.cpulists import cpus_named, kernel_list, list_text
from wirt.model.errors import BadInput
from wirt.model.topology import Cpu, Node, Topology

HOST = Topology(
    tuple(Cpu(cpu, cpu, (cpu,), cpu // 4, cpu // 4 * 4, cpu // 4) for cpu in range(8)),
    (Node(0, 1), Node(1, 1)),
    offline=(8,),
)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("all", range(9)),
        ("0-3,^2", (0, 1, 3)),
        ("^2,0-3", (0, 1, 2, 3)),
        ("node:1", (4, 5, 6, 7)),
        ("nodes:0-1,^node:0", (4, 5, 6, 7)),
        ("all,^nodes:1", (0, 1, 2, 3, 8)),
        (" 1 , 3 ", (1, 3)),
        ("7-900000", (7, 8)),
        ("8", (8,)),
    ],
)
def test_a_list_means_what_xen_means(text: str, cpus: range | tuple[int, ...]) -> None:
    assert cpus_named(text, HOST) == set(cpus)


@pytest.mark.parametrize("text", ["9", "node:2", "0,^0", "^all", "all,^all"])
def test_a_list_of_which_nothing_is_here_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(BadInput, match=r"it has the CPUs 0-8, on the nodes 0-1"):
        cpus_named(text, HOST)


@pytest.mark.parametrize("text", ["", "0-", "cpu3", "3-1", "node:1-0", "1;2", "-1"])
def test_what_is_no_list_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadInput, match='as in "0-3'):
        cpus_named(text, HOST)


@given(st.frozensets(st.integers(0, 600)))
@settings(deadline=None)
def test_what_is_written_for_the_kernel_is_read_again(cpus: frozenset[int]) -> None:
    assert kernel_list(list_text(cpus)) == cpus


@pytest.mark.parametrize("text", ["a", "3-1", "1-2-3", "0x1", "9999999"])
def test_what_is_no_list_of_the_kernel_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"range of numbers|ends before"):
        kernel_list(text)
