"""Every engine and cache mode is one that the real QEMUs take; and what a QEMU lacks in the jail is found out."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from wirt.hypervisors.qemu import engines, rings
from wirt.hypervisors.qemu.cmdline import SANDBOX
from wirt.model.devices import DiskFormat, DiskSpec
from wirt.model.engine import Aio, CacheMode, DetectZeroes
from wirt.model.units import MIB
from wirt.plan.engine import DiskEngine, Engines, plan_engine
from wirt.ports.sandbox import Outcome
from wirt.sandbox import best_sandbox
from wirt.storage.media import media_of

from .conftest import qemu_binary

QEMUS = pytest.mark.parametrize("name", ["qemu", "qemu-7.2"])
pytestmark = pytest.mark.real


class Ringless:
    """A sandbox that leaves no program its rings, whatever is asked for."""

    def __init__(self, real: object) -> None:
        self._real = real

    async def trial(self, *words: object, io_uring: bool) -> Outcome:
        outcome: Outcome = await self._real.trial(*words, io_uring=False)  # type: ignore[attr-defined]
        return outcome


@QEMUS
async def test_which_engines_there_are_is_found_out_in_the_jail(name: str, tmp_path: Path) -> None:
    sandbox, binary = await best_sandbox(), qemu_binary(name)
    found = dict(await rings.missing(binary, sandbox, tmp_path / "engines.json"))
    if not rings.FORBIDDEN.exists() or rings.FORBIDDEN.read_text().strip() == "0":
        assert found == {}, "Debian builds it with both"
    assert dict(await rings.missing("/no/such/qemu", sandbox, tmp_path / "other.json")).keys() == {Aio.IO_URING}


@pytest.mark.root
@QEMUS
async def test_a_jail_without_rings_is_noticed_although_qemu_goes_on(name: str) -> None:
    why = await rings.why_not(Aio.IO_URING, qemu_binary(name), Ringless(await best_sandbox()))  # type: ignore[arg-type]
    assert why is not None
    assert "io_uring" in why


async def test_the_answer_is_kept_until_something_changes(tmp_path: Path) -> None:
    sandbox, binary, cache = await best_sandbox(), qemu_binary("qemu"), tmp_path / "engines.json"
    await rings.missing(binary, sandbox, cache)
    cache.write_text(json.dumps({**json.loads(cache.read_text()), "missing": {"native": "it says so here"}}))
    assert await rings.missing(binary, sandbox, cache) == ((Aio.NATIVE, "it says so here"),)
    for damage in (
        "",
        "[]",
        '{"key": 1}',
        json.dumps({"key": json.loads(cache.read_text())["key"], "missing": 5}),
    ):
        cache.write_text(damage)
        assert await rings.missing(binary, sandbox, cache) == ()


def all_engines(path: Path) -> Iterator[DiskEngine]:
    """Each that a plan can come to on this file."""
    medium = media_of([str(path)])[str(path)]
    for cache, aio, zeroes in itertools.product(CacheMode, Aio, DetectZeroes):
        wish = DiskSpec("xvda", str(path), cache=cache, aio=aio, detect_zeroes=zeroes)
        yield replace(plan_engine(wish, DiskFormat.RAW, medium, Engines()), reasons={})


@QEMUS
@pytest.mark.parametrize("place", ["disk", "memory"])
def test_no_planned_engine_keeps_qemu_from_starting(name: str, place: str, tmp_path: Path) -> None:
    """One QEMU has them all, as descriptors."""
    home = tmp_path if place == "disk" else Path("/dev/shm")
    path = home / f"wirt-engines-{os.getpid()}.raw"
    path.write_bytes(b"\1" * MIB)
    words: list[str] = []
    descriptors = []
    try:
        planned = list(dict.fromkeys(json.dumps(_node(engine)) for engine in all_engines(path)))
        for number, text in enumerate(planned, 1):
            node = json.loads(text)
            descriptors.append(os.open(path, os.O_RDWR | (os.O_DIRECT if node["cache"]["direct"] else 0)))
            node |= {"node-name": f"n{number}"}
            node["file"] |= {"filename": f"/dev/fdset/{number}", "locking": "off"}
            words += ["-add-fd", f"fd={descriptors[-1]},set={number}", "-blockdev", json.dumps(node)]
            words += ["-device", f"virtio-blk-pci,drive=n{number}{engines.device_options(DiskEngine(queues=2))}"]
        machine = ("-M", "q35", "-m", "64", "-nodefaults", "-display", "none", "-S", "-sandbox", SANDBOX)
        done = subprocess.run(
            [qemu_binary(name), *machine, *words, "-qmp", "stdio"],
            input=b'{"execute":"qmp_capabilities"}\n{"execute":"quit"}\n',
            capture_output=True,
            pass_fds=descriptors,
            timeout=60,
            check=False,
        )
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
        path.unlink()
    assert (done.returncode, done.stderr.decode()) == (0, "")
    assert len(planned) >= 8


def _node(engine: DiskEngine) -> dict[str, object]:
    file = {"driver": "file", **engines.file_options(engine)}
    return {"driver": "raw", **engines.node_options(engine), "file": file}


async def test_what_an_engine_costs_at_a_start_is_asked_once(tmp_path: Path) -> None:
    """Two at once get the same answer."""
    sandbox, binary, cache = await best_sandbox(), qemu_binary("qemu"), tmp_path / "engines.json"
    one, other = await asyncio.gather(*(rings.missing(binary, sandbox, cache) for _ in range(2)))
    assert one == other
