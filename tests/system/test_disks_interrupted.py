"""Snapshots, moves and growing of a real guest's disks, with wirtd or QEMU killed at any moment: afterwards every
block holds what it did before or what it should after, on all disks alike, and all images are sound."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass, field

import pytest

from wirt.images.tiny import TinyImage
from wirt.model.units import MIB

from .guests import READY, ask, port_of, pvh, watch
from .host import COMMAND_S, Host, wait_until

pytestmark = [pytest.mark.real, pytest.mark.long]
SEED = int(os.environ.get("WIRT_SEED", "20261128"))
ROUNDS = int(os.environ.get("WIRT_ROUNDS", "60"))
PLACES = 8
DEVICES = ("vda", "vdb")
DISKS = 'disk = ["default/one,,xvda,rw", "default/two,,xvdb,rw"]'


@dataclass
class Model:
    """The number that is in each place of both disks, now and in each snapshot."""

    now: dict[int, int] = field(default_factory=dict)
    kept: dict[str, dict[int, int]] = field(default_factory=dict)
    moves: int = 0


def on_disk(host: Host, verb: str, place: int, number: int) -> list[bool]:
    words = [f"wirt disk-{verb} {device} {place * MIB} {MIB} {number}" for device in DEVICES]
    return ["ok=1" in ask(port_of(host, "web"), word) for word in words]


def write(host: Host, model: Model, chance: random.Random) -> None:
    place, number = chance.randrange(PLACES), chance.randrange(1, 1 << 30)
    assert on_disk(host, "write", place, number) == [True, True]
    model.now[place] = number


def up(host: Host) -> None:
    if host.domain("web")["state"] == "off":
        host.ok("start", "web")
        with watch(host, "web") as console:
            console.until(READY)
    assert host.domain("web")["state"] == "running"


def holds(host: Host, numbers: dict[int, int]) -> bool:
    found = [on_disk(host, "verify", place, number) for place, number in numbers.items()]
    assert all(one == two for one, two in found), f"the disks differ: {found}"
    return all(one for one, _ in found)


def action(host: Host, model: Model, chance: random.Random, number: int) -> tuple[str, ...]:
    snapshots = [each["name"] for each in host.json("snapshot", "list", "web")["snapshots"]]
    unfinished = [each["name"] for each in host.json("snapshot", "list", "web")["snapshots"] if each["leaving"]]
    if unfinished:
        return ("snapshot", "delete", "web", unfinished[0])
    if len(snapshots) > 3:
        return ("snapshot", "delete", "web", chance.choice(snapshots))
    choice = chance.choice(("take", "take", "memory", "delete", "back", "grow", "move"))
    if choice == "move" and not snapshots:
        return ("disk-move", "web", "xvda", f"default/moved{number}")
    if choice == "grow":
        return ("volume", "resize", "default/two", "--size", f"{16 + number}M")
    if choice in ("delete", "back") and snapshots:
        name = chance.choice(snapshots)
        return ("snapshot", "delete", "web", name) if choice == "delete" else (
            "snapshot", "revert", "web", name, "--force"
        )  # fmt: skip
    return ("snapshot", "create", "web", f"s{number}", *(["--memory"] if choice == "memory" else []))


def disturb(host: Host, words: tuple[str, ...], chance: random.Random) -> None:
    process = host.spawn("wirt", *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(chance.uniform(0.0, 0.6))
    how = chance.choice(("nothing", "wirtd", "wirtd", "qemu", "both"))
    if how in ("wirtd", "both"):
        host.kill9()
    if how in ("qemu", "both"):
        for pid in host.guests():
            os.kill(pid, signal.SIGKILL)
    if how in ("wirtd", "both"):
        host.start()
    _, told = process.communicate(timeout=COMMAND_S)
    assert b"Traceback" not in told, told.decode()
    wait_until(lambda: not working(host), COMMAND_S, "the end of all jobs")


def working(host: Host) -> list[str]:
    ended = ("done", "failed", "cancelled")
    return [job["id"] for job in host.json("jobs")["jobs"] if job["state"] not in ended]


def check(host: Host, model: Model, words: tuple[str, ...]) -> None:
    up(host)
    snapshots = {each["name"] for each in host.json("snapshot", "list", "web")["snapshots"]}
    if words[:2] == ("snapshot", "create") and words[3] in snapshots:
        model.kept[words[3]] = dict(model.now)
    if words[:2] == ("snapshot", "revert") and not holds(host, model.now):
        model.now = dict(model.kept[words[3]])
    assert holds(host, model.now), f"after {' '.join(words)}"
    model.kept = {name: numbers for name, numbers in model.kept.items() if name in snapshots}


def check_images(host: Host) -> None:
    host.ok("destroy", "web")
    for volume in host.json("volume", "list", "default")["volumes"]:
        if volume["format"] == "qcow2":
            words = ["qemu-img", "check", "-f", "qcow2", volume["path"]]
            done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
            # 3: leaked clusters, which a killed QEMU leaves and which cost room only (qemu-img(1), "check")
            assert done.returncode in (0, 3), done.stdout + done.stderr
    up(host)


def test_disks_are_as_before_or_as_after_whoever_is_killed(real_host: Host, tiny: TinyImage) -> None:
    host, chance, model = real_host, random.Random(SEED), Model()
    host.ok("volume", "create", "default/one", "--size", "16M", "--format", "raw")
    host.ok("volume", "create", "default/two", "--size", "16M", "--format", "qcow2")
    host.ok("define", host.write("web.cfg", pvh(tiny, "web", more=DISKS)))
    up(host)
    for place in range(PLACES):
        model.now[place] = place + 1
        assert on_disk(host, "write", place, place + 1) == [True, True]
    for number in range(ROUNDS):
        write(host, model, chance)
        words = action(host, model, chance, number)
        disturb(host, words, chance)
        check(host, model, words)
        if number % 10 == 9:
            check_images(host)
            assert holds(host, model.now)
    while left := host.json("snapshot", "list", "web")["snapshots"]:
        first = next((each for each in left if each["leaving"]), left[0])
        host.ok("snapshot", "delete", "web", first["name"])
    assert holds(host, model.now)
    check_images(host)
    names = {volume["name"] for volume in host.json("volume", "list", "default")["volumes"]}
    assert len(names) == 2, f"something is left: {names}"
    host.ok("destroy", "web")
    host.ok("undefine", "web")
