"""A QEMU that a guest has taken over tells lies about its disks: each is an error, and none a path of the host."""

from __future__ import annotations

from typing import Any

import pytest

from wirt.hypervisors.qemu import answers, nodes
from wirt.hypervisors.qemu.untrusted import Malformed
from wirt.model.errors import HypervisorError, IllegalState

IMAGE = {"virtual-size": 1 << 20}


class Lies:
    """A monitor that answers what it is told to."""

    def __init__(self, trees: object, told: object) -> None:
        self._answers = {"query-blockstats": trees, "query-named-block-nodes": told}

    async def execute(self, command: str, arguments: object = None, *, deadline_s: float = 5.0) -> Any:
        return self._answers[command]


def tree(**changes: object) -> dict[str, object]:
    here = {"qdev": "disk-xvda-device", "node-name": "disk-xvda", "parent": {"node-name": "f801-2a-1"}}
    return {**here, **changes}


def node(name: str, **changes: object) -> dict[str, object]:
    return {"node-name": name, "file": "/dev/fdset/1", "ro": False, "image": IMAGE, **changes}


HONEST = [node("disk-xvda"), node("f801-2a-1")]


async def test_an_honest_chain_is_told() -> None:
    (layer,) = (await nodes.chains("web", Lies([tree()], HONEST)))["xvda"]  # type: ignore[arg-type]
    assert (layer.identity, layer.set, layer.size, layer.writable) == ("f801-2a", 1, 1 << 20, True)


endless: dict[str, object] = {"node-name": "disk-xvda", "parent": {"node-name": "f801-2a-1"}}
endless["backing"] = endless


@pytest.mark.parametrize(
    ("trees", "told"),
    [
        ([tree(parent=None)], HONEST),
        ([tree(parent={"node-name": "/etc/shadow"})], [*HONEST, node("/etc/shadow")]),
        ([tree(parent={"node-name": 7})], HONEST),
        ([tree(backing="x")], HONEST),
        ([tree(backing=endless)], HONEST),
        ([tree(**{"node-name": "absent"})], HONEST),
        ([tree()], [node("disk-xvda"), node("f801-2a-1", file="/etc/shadow")]),
        ([tree()], [node("disk-xvda", image={"virtual-size": -1}), node("f801-2a-1")]),
        ([tree()], [node("disk-xvda", image=None), node("f801-2a-1")]),
    ],
)
async def test_a_chain_that_can_not_be_is_an_error(trees: object, told: object) -> None:
    with pytest.raises(HypervisorError, match="tells of a disk with"):
        await nodes.chains("web", Lies(trees, told))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("read", "answer"),
    [
        (answers.jobs, [{"id": "x", "status": "running", "current-progress": True, "total-progress": 1}]),
        (answers.jobs, [{"id": None}]),
        (answers.file_sets, [{"fdset-id": 1, "fds": "none"}]),
        (answers.file_sets, [{"fdset-id": -1, "fds": []}]),
        (answers.added_to, {"fdset-id": "1"}),
        (answers.migration, {"status": 1}),
        (answers.migration, {"status": "active", "ram": {"total": 1}}),
        (answers.version, {"qemu": {"major": "x", "minor": 1}}),
    ],
)
def test_numbers_and_words_are_what_they_should_be(read: Any, answer: object) -> None:
    with pytest.raises(Malformed):
        read(answer)


def test_a_process_that_is_gone_has_nothing_open() -> None:
    with pytest.raises(IllegalState):
        nodes.opened(2**22 + 1)
