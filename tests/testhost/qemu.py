"""The QEMU that the test host is in: always software emulation, so that it is the same on every machine."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import recipe
from .commands import Failed, run

PROGRAM = "qemu-system-x86_64"
ANSWER_S = 120.0
STATE_S = 300.0
END_S = 10.0


def version() -> str:
    return run(PROGRAM, "--version", timeout_s=20).splitlines()[0]


def make_disks(directory: Path, backing: Path, backing_format: str) -> None:
    """In ``directory``: ``root`` over ``backing``, ``scratch`` for tests to do with as they like, ``parcel`` for
    files that come in."""
    create = ("qemu-img", "create", "-q", "-f", "qcow2")
    run(*create, "-b", backing, "-F", backing_format, directory / "root", timeout_s=60)
    run(*create, directory / "scratch", f"{recipe.SCRATCH_MIB}M", timeout_s=60)
    with (directory / "parcel").open("wb") as parcel:
        parcel.truncate(recipe.PARCEL_MIB << 20)


class Qemu:
    """One running QEMU, with its agent's line and its monitor as sockets that nobody else can reach. It ends with
    the thread that started it, however that ends (prctl(2), PR_SET_PDEATHSIG): start it in the main thread.

    ``la57``: five-level paging under software emulation hung guests.
    """

    def __init__(
        self, image: Path, directory: Path, *, state: Path | None = None, shape: str = recipe.USUAL
    ) -> None:
        """``directory`` has the disks (:func:`make_disks`), ``image`` the kernel. With ``state`` it goes on where
        that was saved, and is paused: only in the ``shape`` that it was saved in."""
        self.directory = directory
        agent, theirs_agent = socket.socketpair()
        monitor, theirs_monitor = socket.socketpair()
        with theirs_agent, theirs_monitor, (directory / "qemu.log").open("wb") as log:
            words = [
                *_command_line(image, directory, theirs_agent.fileno(), theirs_monitor.fileno(), state),
                *recipe.SHAPES[shape],
            ]
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs_agent.fileno(), theirs_monitor.fileno()),
                start_new_session=True,
            )
        self.agent = agent
        self._monitor = monitor
        self._lines = monitor.makefile("rb")
        try:
            self._monitor.settimeout(ANSWER_S)
            self._line()
            self.execute("qmp_capabilities")
            if state is not None:
                self._until(
                    "the snapshot to be loaded", lambda: self.execute("query-status")["status"] != "inmigrate"
                )
        except BaseException:
            self.kill()
            raise

    def execute(self, command: str, **arguments: Any) -> Any:
        self._monitor.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = self._line()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise Failed(f"QEMU refuses {command}: {answer['error']['desc']}")

    def save(self, state: Path) -> None:
        """Stop it and write memory and devices to ``state``; the disks are then as they were at that moment."""
        self.execute("stop")
        self.execute("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        self.execute("migrate", uri=f"exec:cat > '{state}'")

        def saved() -> bool:
            status = self.execute("query-migrate")["status"]
            if status == "failed":
                raise Failed(f"the snapshot could not be saved: {self.last_words()}")
            return bool(status == "completed")

        self._until("the snapshot to be saved", saved)

    def quit(self) -> None:
        self.execute("quit")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_S)
        self.kill()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(END_S)
        self._lines.close()
        self._monitor.close()
        self.agent.close()

    def last_words(self) -> str:
        said = [
            (self.directory / name).read_text(errors="replace")[-1500:] for name in ("qemu.log", "console.log")
        ]
        return re.sub(r"[^\n -~]", "?", "\n".join(said)).strip()

    def _line(self) -> Any:
        try:
            line = self._lines.readline()
        except TimeoutError:
            raise Failed(f"the test host's QEMU did not answer within {ANSWER_S:g} s") from None
        except OSError as error:
            raise Failed(f"the test host's QEMU is gone ({error}): {self.last_words()}") from None
        if not line:
            raise Failed(f"the test host's QEMU is gone: {self.last_words()}")
        return json.loads(line)

    def _until(self, name: str, done: Any) -> None:
        deadline = time.monotonic() + STATE_S
        while not done():
            if time.monotonic() > deadline:
                raise Failed(f"waited {STATE_S:g} s for {name}")
            time.sleep(0.05)


def _command_line(image: Path, directory: Path, agent: int, monitor: int, state: Path | None) -> Sequence[str]:
    words = [
        *(PROGRAM, "-name", "wirt-testhost", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", "q35", "-cpu", "max,la57=off", "-rtc", "base=utc"),
        *("-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initramfs"), "-append", recipe.COMMAND_LINE),
        *("-chardev", f"file,id=console,path={_escaped(directory / 'console.log')}", "-serial", "chardev:console"),
        *("-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control"),
        *("-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,fd={agent}"),
        *("-device", "virtserialport,chardev=agent,name=wirt.testhost", "-device", "virtio-rng-pci"),
    ]
    for name in ("root", "scratch", "parcel"):
        file = {"driver": "file", "filename": str(directory / name), "discard": "unmap", "locking": "off"}
        node = {
            "driver": "raw" if name == "parcel" else "qcow2",
            "node-name": name,
            "discard": "unmap",
            "cache": {"direct": False, "no-flush": True},
            "file": file,
        }
        words += ["-blockdev", json.dumps(node), "-device", f"virtio-blk-pci,drive={name},serial={name}"]
    if state is not None:
        words += ["-incoming", f"exec:cat '{state}'"]
    return words


def _escaped(path: Path) -> str:
    """A comma ends an option's value (qemu-system-x86_64(1))."""
    return str(path).replace(",", ",,")
