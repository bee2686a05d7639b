"""The breakout test: a program in QEMU's place, in QEMU's jail, tries to get out.

Each attempt is made twice on the same planted thing: outside it works, which proves that there is something to
see; inside it does not. All things are the test's own.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.network.namespace import own_namespace, run

from wirt.model.units import MIB
from wirt.sandbox import HostSandbox

from .kit import COULD, COULD_NOT, inside, outside, stand_in_plan, started

pytestmark = [pytest.mark.root]

OWN_NAMESPACES = ("unshare", "--mount", "--net", "--ipc")
NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
KILLED = 128 + 9
EXPERIMENTAL = 0x88B5
"""An EtherType that nobody uses (IEEE 802)."""


@dataclass(frozen=True)
class Decoys:
    """What stands on a host beside a run: everything here is planted."""

    place: Path
    disk: Path
    configuration: Path
    secret: Path
    api: Path
    qmp: Path
    abstract: str
    port: int
    neighbour: subprocess.Popen[bytes]
    shared: ctypes.c_char


@pytest.fixture
def decoys(tmp_path: Path) -> Iterator[Decoys]:
    place = tmp_path / "host"
    place.mkdir(mode=0o755)
    for name, mode in (("other.img", 0o666), ("wirt.db", 0o600), ("shadow", 0o600)):
        (place / name).write_bytes(b"decoy" * 100)
        (place / name).chmod(mode)
    abstract = f"wirt-test-{os.getpid()}"
    with ExitStack() as stack:
        for address in (str(place / "api.sock"), str(place / "qmp.sock"), f"\0{abstract}"):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen(8)
        for name in ("api.sock", "qmp.sock"):
            (place / name).chmod(0o666)
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        # It ignores the signal that it is sent, so that it is there for the next attempt.
        neighbour = subprocess.Popen(["sh", "-c", "trap '' USR1; exec sleep 60"])
        stack.callback(neighbour.wait)
        stack.callback(neighbour.kill)
        yield Decoys(
            place=place,
            disk=place / "other.img",
            configuration=place / "wirt.db",
            secret=place / "shadow",
            api=place / "api.sock",
            qmp=place / "qmp.sock",
            abstract=abstract,
            port=int(tcp.getsockname()[1]),
            neighbour=neighbour,
            shared=ctypes.c_char(b"x"),
        )


ATTEMPTS = {
    "read another domain's disk": "read {disk}",
    "write another domain's disk": "write {disk}",
    "read its own configuration in the store": "read {configuration}",
    "write its own configuration in the store": "write {configuration}",
    "read a file that only root may read": "read {secret}",
    "create a file anywhere": "create {place}/new",
    "talk to the API": "unix {api}",
    "talk to another QMP socket": "unix {qmp}",
    "talk to an abstract socket": "abstract {abstract}",
    "signal a process of the host": "signal {neighbour}",
    "trace a process of the host": "ptrace {neighbour}",
    "read a process's memory": "memory-of {test} {address}",
    "see other processes": "processes",
    "reach a listener over the network": "tcp 127.0.0.1 {port}",
    "send frames of its own, as on another's bridge port": "packet",
    "reach the host over vsock": "vsock",
    "ask the kernel of its network": "netlink",
    "read an environment that holds secrets": "environment PATH",
    "become root": "setuid",
    "have a capability": "capability",
    "load a module": "module",
    "mount": "mount {place}",
    "make a device node": "mknod {place}/node",
    "make a user namespace, to be root in": "user-namespace",
    "make a network namespace": "network-namespace",
    "raise its own limits": "raise-limit",
    "leave a core dump": "core",
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
async def test_it_can_not(
    attempt: str, sandbox: HostSandbox, breakout: Path, directory: Path, decoys: Decoys
) -> None:
    words = (
        ATTEMPTS[attempt]
        .format(
            **{name: getattr(decoys, name) for name in ("place", "disk", "configuration", "secret", "api", "qmp")},
            abstract=decoys.abstract,
            port=decoys.port,
            neighbour=decoys.neighbour.pid,
            test=os.getpid(),
            address=hex(ctypes.addressof(decoys.shared)),
        )
        .split()
    )
    # What changes something of the machine is tried in namespaces of its own.
    alone = OWN_NAMESPACES if words[0] in ("mount", "packet") else ()
    before = outside(breakout, *words, before=alone)

    within = await inside(sandbox, stand_in_plan(sandbox, breakout, directory), *words)

    assert before.status == COULD, f"outside it should work, or the test sees nothing: {before.text}"
    assert within.status == COULD_NOT, within.text
    assert "refused" in within.text


async def test_it_gains_no_uid_from_a_setuid_program(
    sandbox: HostSandbox, breakout: Path, directory: Path, open_place: Path
) -> None:
    """Even from one that lies in the jail with it."""
    gate = open_place / "setuid-root"
    shutil.copy(breakout, gate)
    gate.chmod(0o4755)
    usual = stand_in_plan(sandbox, breakout, directory)
    plan = stand_in_plan(sandbox, breakout, directory, shown=(*usual.shown, str(gate)))

    before = outside(gate, "am-i-root", before=NOBODY)
    within = await inside(sandbox, plan, "setuid-program", str(gate))

    assert before.status == COULD, f"outside the decoy should give root: {before.text}"
    assert within.status == COULD_NOT and "am not root" in within.text


async def test_it_can_not_talk_to_another_domains_bridge_port(
    sandbox: HostSandbox, breakout: Path, directory: Path
) -> None:
    """A bridge with a neighbour's card in it, in a network namespace of the test's own."""
    with own_namespace(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, EXPERIMENTAL) as neighbour:
        run("ip", "link", "add", "victim", "type", "veth", "peer", "name", "card")
        run("ip", "link", "add", "bridge", "type", "bridge")
        run("ip", "link", "set", "victim", "master", "bridge")
        for device in ("bridge", "victim", "card"):
            run("ip", "link", "set", device, "up")
        neighbour.bind(("card", EXPERIMENTAL))
        neighbour.settimeout(5)
        for device in ("victim", "bridge"):
            before = outside(breakout, "frame", device)
            assert before.status == COULD, f"outside it should work, or the test sees nothing: {before.text}"
            assert neighbour.recv(100)[14:17] == b"out"

            within = await inside(sandbox, stand_in_plan(sandbox, breakout, directory), "frame", device)
            assert within.status == COULD_NOT and "refused" in within.text, within.text

        neighbour.settimeout(0.5)
        with pytest.raises(TimeoutError):
            neighbour.recv(100)


async def test_it_fills_no_more_memory_than_its_own(sandbox: HostSandbox, breakout: Path, directory: Path) -> None:
    _needs(sandbox, "memory")
    before = outside(breakout, "memory", "128")

    within = await inside(sandbox, stand_in_plan(sandbox, breakout, directory), "memory", "128")
    modest = await inside(sandbox, stand_in_plan(sandbox, breakout, directory), "memory", "32")

    assert before.status == COULD
    assert within.status == KILLED, within.text
    assert modest.status == COULD, "what it is entitled to it gets"


async def test_it_makes_no_more_processes_than_its_limit(
    sandbox: HostSandbox, breakout: Path, directory: Path
) -> None:
    before = outside(breakout, "fork", "64")

    within = await inside(sandbox, stand_in_plan(sandbox, breakout, directory), "fork", "64")

    assert before.status == COULD
    assert within.status == COULD_NOT and "temporarily unavailable" in within.text, within.text


async def test_it_makes_no_disk_longer_than_it_may_become(
    sandbox: HostSandbox, breakout: Path, directory: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "own.raw"
    with disk.open("w+b") as file:
        file.truncate(MIB)
        words = ("grow", str(file.fileno()), str(4 * MIB), str(65536))

        within = await inside(
            sandbox, stand_in_plan(sandbox, breakout, directory), *words, inherited=[file.fileno()]
        )
        assert disk.stat().st_size == MIB
        before = outside(breakout, *words, inherited=[file.fileno()])

    assert before.status == COULD
    assert within.status == COULD_NOT and "too large" in within.text, within.text


async def test_it_fills_no_more_with_logs_than_its_directory_holds(
    sandbox: HostSandbox, breakout: Path, directory: Path, tmp_path: Path
) -> None:
    """And the event log still has room then."""
    plan = stand_in_plan(sandbox, breakout, directory)
    jail = await sandbox.prepare(plan)
    jail.close()
    try:
        log = os.open(directory / "console.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        with (tmp_path / "outside.log").open("ab") as elsewhere:
            before = outside(
                breakout, "grow", str(elsewhere.fileno()), "-1", str(2 * MIB), inherited=[elsewhere.fileno()]
            )
        flooded = outside(breakout, "grow", str(log), "-1", str(2 * MIB), inherited=[log])
        os.close(log)
        with (directory / "events.log").open("ab") as events:
            events.write(b"e" * 200 * 1024)
    finally:
        await sandbox.clear(directory)

    assert before.status == COULD
    assert flooded.status == COULD_NOT and "No space left" in flooded.text, flooded.text


async def test_it_has_no_descriptor_but_those_it_was_handed(
    sandbox: HostSandbox, breakout: Path, directory: Path, tmp_path: Path
) -> None:
    with (tmp_path / "own.raw").open("w+b") as file:
        plan = stand_in_plan(sandbox, breakout, directory)
        within = await inside(sandbox, plan, "descriptors", inherited=[file.fileno()])
        handle = os.open(tmp_path, os.O_RDONLY)
        before = outside(breakout, "directories", inherited=[handle])
        os.close(handle)
        directories = await inside(sandbox, plan, "directories", inherited=[file.fileno()])

        assert {int(word) for word in within.text.split()} == {0, 1, 2, file.fileno()}
    assert before.status == COULD
    assert directories.status == COULD_NOT


async def test_two_runs_at_once_have_two_uids_and_neither_is_the_daemons(
    sandbox: HostSandbox, breakout: Path, tmp_path: Path
) -> None:
    uids = []
    one, two = tmp_path / "one" / "run", tmp_path / "two" / "run"
    for path in (one, two):
        path.mkdir(parents=True)
    async with (
        started(sandbox, stand_in_plan(sandbox, breakout, one), ["wait"]) as first,
        started(sandbox, stand_in_plan(sandbox, breakout, two), ["wait"]) as second,
    ):
        for run in (first, second):
            await _becomes(run.pid, "breakout")
            status = dict(
                line.split(":\t", 1) for line in Path(f"/proc/{run.pid}/status").read_text().splitlines()
            )
            assert len(set(status["Uid"].split())) == 1 and len(set(status["Gid"].split())) == 1
            assert status["Groups"].strip() == ""
            assert {status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
            assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
            uids.append(int(status["Uid"].split()[0]))
    assert len(set(uids)) == 2
    assert os.getuid() not in uids


async def _becomes(pid: int, name: str) -> None:
    async with asyncio.timeout(10):
        while Path(f"/proc/{pid}/comm").read_text().strip() != name:
            await asyncio.sleep(0.005)


def _needs(sandbox: HostSandbox, controller: str) -> None:
    if controller not in sandbox.controllers:
        pytest.skip(
            f"needs a control group with {controller} that groups may be made in: boot with systemd, or "
            f"mount -t cgroup -o {controller} none /sys/fs/cgroup/{controller}"
        )
