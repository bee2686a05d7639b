"""A real QEMU in a jail, without the driver: started as the driver will, asked through QMP, always ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from wirt.hypervisors.qemu import cmdline, handover, layers, sockets
from wirt.model.devices import DiskSpec, VifSpec
from wirt.model.domain import DomainConfig, GuestType
from wirt.plan.host import Accelerator, HostFacts, HypervisorFacts
from wirt.plan.jail import JailPlan, plan_jail
from wirt.plan.launch import LaunchPlan, plan_launch
from wirt.sandbox import HostSandbox

from .kit import ADMIT_S, END_S, end

QEMU = shutil.which("qemu-system-x86_64")
HOST = HostFacts("here", 2, 64 << 30, 64 << 30, can_bridge=True, default_bridge="wirtbr0")
FACTS = HypervisorFacts("qemu", (10, 0, 2), Accelerator.TCG, "for tests", frozenset(GuestType))
BOOT_S = 90.0
ANSWER_S = 120.0


def plan_of(
    kernel: Path,
    initramfs: Path | None,
    disks: tuple[DiskSpec, ...] = (),
    vifs: tuple[VifSpec, ...] = (),
    domid: int = 7,
) -> LaunchPlan:
    config = DomainConfig(
        name="jailed, with a comma",
        type=GuestType.PVH,
        memory_mib=128,
        kernel=str(kernel),
        ramdisk=None if initramfs is None else str(initramfs),
        cmdline="console=ttyS0",
        disks=disks,
        vifs=vifs,
    )
    devices = frozenset(d.target for d in disks if d.target is not None and Path(d.target).is_block_device())
    return plan_launch(config, uuid4(), domid, HOST, FACTS, devices)


@dataclass
class Guest:
    """``outer`` is bwrap, ``pid`` QEMU itself."""

    outer: subprocess.Popen[bytes]
    pid: int
    directory: Path
    jail: JailPlan
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter

    async def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        request = {"execute": command, "arguments": arguments or {}}
        self._writer.write(json.dumps(request).encode() + b"\n")
        while True:
            answer = json.loads(await asyncio.wait_for(self._reader.readline(), ANSWER_S))
            if "return" in answer:
                return answer["return"]
            assert "error" not in answer, answer

    def console(self) -> bytes:
        return (self.directory / "console.log").read_bytes()

    async def until_console(self, text: bytes, within_s: float = BOOT_S) -> None:
        async with asyncio.timeout(within_s):
            while text not in self.console():
                await asyncio.sleep(0.1)

    async def type(self, text: str) -> None:
        console = sockets.connect(self.directory / "console.sock")
        try:
            await asyncio.get_running_loop().sock_sendall(console, text.encode())
            await asyncio.sleep(0.2)
        finally:
            console.close()

    async def ended(self) -> int:
        return await asyncio.to_thread(self.outer.wait, END_S)


class DidNotStart(Exception):
    """With what was said."""


@asynccontextmanager
async def guest(
    sandbox: HostSandbox, plan: LaunchPlan, directory: Path, taps: tuple[tuple[int, int], ...] = ()
) -> AsyncIterator[Guest]:
    if QEMU is None:
        pytest.skip("needs qemu-system-x86_64: make setup")
    directory.mkdir(mode=0o700, exist_ok=True)
    chains = {disk.id: layers.chain(disk.path, disk.format) for disk in plan.disks if disk.path is not None}
    direct = plan.direct_boot
    assert direct is not None
    host = sandbox.host(QEMU, [path for path in (direct.kernel, direct.ramdisk) if path is not None])
    jailed = plan_jail(plan, str(directory), host, chains)
    jail = await sandbox.prepare(jailed)
    outer: subprocess.Popen[bytes] | None = None
    writer: asyncio.StreamWriter | None = None
    try:
        async with contextlib.AsyncExitStack() as stack:
            listeners = [
                stack.enter_context(contextlib.closing(sockets.listen(directory / name)))
                for name in ("control.sock", "events.sock", "console.sock", "agent.sock")
            ]
            control, events, console, agent = (listener.fileno() for listener in listeners)
            files = await stack.enter_async_context(handover.opened(jailed.handed))
            kvm = jailed.handed_for("kvm")
            names = (("kvm", kvm.name),) if kvm is not None else ()
            handles = cmdline.Handles(control, events, console, taps, names=names, agent=agent)
            argv = [*_words(plan, jailed, handles, files), *handover.words(jailed.handed, files)]
            inherited = [control, events, console, agent, *(tap for _, tap in taps), *files.values()]
            command = jail.command(argv, inherited)
            output = stack.enter_context((directory / "qemu.log").open("wb"))
            outer = jail.start(
                lambda: subprocess.Popen(
                    command.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=command.inherited,
                    start_new_session=True,
                    restore_signals=False,
                )
            )
        pid = await jail.admit(outer.pid, ADMIT_S)
        client = sockets.connect(directory / "control.sock")
        reader, writer = await asyncio.open_unix_connection(sock=client)
        run = Guest(outer, pid, directory, jailed, reader, writer)
        try:
            await asyncio.wait_for(reader.readline(), ANSWER_S)
            await run.execute("qmp_capabilities")
        except (OSError, json.JSONDecodeError, TimeoutError) as error:
            raise DidNotStart((directory / "qemu.log").read_text()) from error
        yield run
    finally:
        if writer is not None:
            writer.close()
        jail.close()
        if outer is not None:
            await end(outer)
        await sandbox.clear(directory)


def _words(plan: LaunchPlan, jail: JailPlan, handles: cmdline.Handles, files: Mapping[int, int]) -> list[str]:
    """The driver's command line, with descriptors in the place of names."""
    words = list(cmdline.command_line(plan, jail.program, jail.directory, handles))
    for log in ("events", "console"):
        handed = jail.handed_for(f"{log}-log")
        assert handed is not None
        old = cmdline.quoted(f"logfile={jail.directory}/{log}.log")
        words = [word.replace(old, f"logfile={handed.name}") for word in words]
    for disk in plan.disks:
        for place, word in enumerate(words):
            if words[place - 1] == "-blockdev" and json.loads(word).get("node-name") == disk.id:
                words[place] = json.dumps(handover.node(disk, jail, files))
    return words
