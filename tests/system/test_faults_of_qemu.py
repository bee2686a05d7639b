"""A QEMU that is missing, is none, or says nothing: an error within seconds, and no process left."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from wirt.images.tiny import TinyImage

from .guests import silent
from .host import Host, a_host, wait_until

pytestmark = pytest.mark.real
QEMU = shutil.which("qemu-system-x86_64")
NO_KVM = 'case "$*" in *"-accel kvm"*) exit 1;; esac'
"""Answers the probe at once, which would take its 6 s where KVM is broken."""


class HostWith(Protocol):
    def __call__(self, script: str) -> AbstractContextManager[Host]: ...


@pytest.fixture
def host_with(tmp_path: Path) -> HostWith:
    """A host whose QEMU is a shell script."""

    @contextmanager
    def make(script: str) -> Iterator[Host]:
        scratch = Path(tempfile.mkdtemp(dir=tmp_path))
        program = scratch / "qemu"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        with a_host(
            scratch / "home", scratch, environment={"WIRT_QEMU": str(program), "WIRT_JAIL": "off"}
        ) as host:
            yield host

    return make


def alone(host: Host) -> bool:
    """Whether the daemon is the only process of its host."""
    return list(host.processes()) == [host.pid]


def test_a_missing_qemu_is_told_with_what_to_install(tmp_path: Path, tiny: TinyImage) -> None:
    with a_host(tmp_path / "home", tmp_path, environment={"WIRT_QEMU": "/nosuch/qemu"}) as host:
        told = host.fails("create", host.write("web.cfg", silent(tiny, "web")))
        assert "/nosuch/qemu can't be run: No such file or directory" in told
        assert "apt-get install qemu-system-x86" in told
        assert "WIRT_QEMU" in told
        host.assert_nothing_left()
        assert host.ok("list").out.count("\n") == 2, "all that needs no QEMU still works"
        assert "/nosuch/qemu" in host.fails("info")


def test_a_program_that_is_no_qemu_is_told_so(host_with: HostWith, tiny: TinyImage) -> None:
    with host_with("exit 0") as host:
        config = host.write("web.cfg", silent(tiny, "web"))
        for script in ("exit 0", "echo QEMU emulator version none", "echo no; exit 3"):
            Path(host.environment["WIRT_QEMU"]).write_text(f"#!/bin/sh\n{script}\n")
            assert "is not a QEMU that answers" in host.fails("create", config)
            host.assert_nothing_left()


def test_a_qemu_that_says_nothing_is_given_up_and_ended(host_with: HostWith, tiny: TinyImage) -> None:
    """One sleeps from the start, the other tells its version and then no more: both at once, since each is waited
    for in vain for seconds."""
    mute = f'{NO_KVM}\n[ "$*" = --version ] && exec {QEMU} --version\nsleep 600'
    with host_with("sleep 600") as asleep, host_with(mute) as silenced:
        hosts = {asleep: "took longer than 6 s", silenced: "did not give its event greeting within 10 s"}
        with ThreadPoolExecutor(2) as threads:
            told = list(threads.map(lambda h: h.fails("create", h.write("web.cfg", silent(tiny, "web"))), hosts))
        for host, said, words in zip(hosts, told, hosts.values(), strict=True):
            assert words in said
            wait_until(lambda host=host: alone(host), 20, "the script and its sleep to be gone")  # type: ignore[misc]
            host.assert_nothing_left()


def test_a_qemu_in_a_wrapper_is_ended_with_it(host_with: HostWith, tiny: TinyImage) -> None:
    """Administrators do wrap QEMU, and not always with exec."""
    with host_with(f'{NO_KVM}\n{QEMU} "$@"\nexit $?') as host:
        config = host.write("web.cfg", silent(tiny, "web"))
        host.ok("create", config)
        host.ok("destroy", "web")
        wait_until(lambda: alone(host), 20, "both to be gone")
        host.ok("create", config)
        for pid in host.guests():
            os.kill(pid, signal.SIGSTOP)
        host.ok("destroy", "web")
        wait_until(lambda: alone(host), 20, "both to be gone")


def test_a_guest_that_hangs_is_listed_and_can_be_destroyed(real_host: Host, tiny: TinyImage) -> None:
    host = real_host
    host.ok("create", host.write("mute.cfg", silent(tiny, "mute")))
    host.ok("create", host.write("well.cfg", silent(tiny, "well")))
    os.kill(host.domain("mute")["pid"], signal.SIGSTOP)
    assert sorted(host.names()) == ["mute", "well"]
    told = host.fails("pause", "mute")
    assert "mute: QEMU did not give an answer to stop within 5 s" in told
    assert "wirt destroy" in told
    host.ok("pause", "well")
    host.ok("destroy", "mute")
    assert host.names() == ["well"]
