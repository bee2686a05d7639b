"""From the word to a domain of its own on a template's disk."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.figure import Basis, Contender, Direction, Figure, Promise
from bench.rigs.guests import Guest
from bench.rigs.wirtd import Wirtd, serving
from bench.rigs.workshop import Workshop

TEMPLATE, CLONE, MANY = "bench", "clone", 20
ONE, TWENTY, BARE = "wirt API", "wirt API, 20 at once", "bare qemu-img"
SIZE = "2G"


@dataclass(frozen=True, slots=True)
class Rig:
    wirtd: Wirtd
    image: Path


@contextlib.contextmanager
def rig(workshop: Workshop) -> Iterator[Rig]:
    """The template's disk has all its room, as one that a guest has filled."""
    with serving(workshop) as wirtd:
        room = {"size": SIZE, "preallocation": "full"}
        wirtd.request("POST", f"/v1/volumes/default/{TEMPLATE}?wait=1", room).finished()
        text = Guest(workshop.tiny).xl_config(TEMPLATE) + f'\ndisk = ["pool:default/{TEMPLATE},,xvda,rw"]\n'
        body = {"text": text, "file": "bench.cfg", "cwd": "/", "start": False, "persistent": True}
        wirtd.request("POST", "/v1/domains", body).finished()
        wirtd.request("POST", "/v1/templates?wait=1", {"domain": TEMPLATE}).finished()
        volume = wirtd.request("GET", f"/v1/volumes/default/{TEMPLATE}").answer()
        yield Rig(wirtd, Path(volume["path"]))


def one(rig: Rig) -> float:
    return _clones(rig, None)


def twenty(rig: Rig) -> float:
    return _clones(rig, MANY)


def _clones(rig: Rig, count: int | None) -> float:
    """Done is when they are recorded, each with its disk and its seed."""
    begin = time.perf_counter()
    wanted = {"source": TEMPLATE, "new": CLONE, "count": count, "linked": True}
    job = rig.wirtd.request("POST", "/v1/clones?wait=1", wanted).finished()
    took_ms = (time.perf_counter() - begin) * 1000
    for each in job["result"]["domains"]:
        name = each["name"]
        rig.wirtd.request("DELETE", f"/v1/domains/{name}").answer()
        for volume in (name, f"{name}-seed"):
            rig.wirtd.request("POST", f"/v1/volumes/default/{volume}/destroy?wait=1").finished()
    return took_ms


def by_qemu_img(rig: Rig) -> float:
    """The disk alone: no domain, no seed, nothing recorded."""
    image = rig.image.with_name(".bare")
    begin = time.perf_counter()
    options = ["-f", "qcow2", "-b", rig.image.name, "-F", "qcow2"]
    subprocess.run(["qemu-img", "create", "-q", *options, str(image)], check=True, timeout=30)
    took_ms = (time.perf_counter() - begin) * 1000
    image.unlink()
    return took_ms


FIGURE = Figure(
    name="linked-clone",
    measures=f"A domain on the disk of a template of {SIZE}: from the request until it can be started",
    unit="ms",
    rig=rig,
    contenders=(
        Contender(ONE, "POST /v1/clones: disk, seed, configuration", one, BARE),
        Contender(TWENTY, f"the same with count={MANY}, all of them", twenty, BARE),
        Contender(BARE, "qemu-img create -b: the disk alone", by_qemu_img),
    ),
    promises=(
        Promise("a linked clone is made within 0.5 s", ONE, Basis.VALUE, Direction.AT_MOST, 500, "ms"),
        Promise("20 linked clones within 2 s", TWENTY, Basis.VALUE, Direction.AT_MOST, 2000, "ms"),
    ),
    runs=25,
    quick_runs=5,
)
