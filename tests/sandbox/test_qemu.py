"""Real QEMUs in the jail: guests, disks and what a daemon needs to find and watch them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.network.namespace import own_namespace
from tests.network.worlds import card

from wirt.hypervisors.qemu import process
from wirt.hypervisors.qemu.threads import host_threads
from wirt.images.tiny import TinyImage
from wirt.model.devices import DiskFormat, DiskSpec, VifSpec
from wirt.network import DefaultBridge, HostNetwork
from wirt.plan.jail import UID_BASE
from wirt.ports.virtual_clock import VirtualClock
from wirt.sandbox import HostSandbox

from .guest import DidNotStart, guest, plan_of

pytestmark = [pytest.mark.root, pytest.mark.real]


def image(path: Path, size: str = "8M", backing: Path | None = None, kind: str = "qcow2") -> Path:
    below = ("-b", str(backing), "-F", "qcow2" if backing.suffix == ".qcow2" else "raw") if backing else ()
    subprocess.run(["qemu-img", "create", "-q", "-f", kind, *below, str(path), size], check=True, timeout=20)
    path.chmod(0o600)
    return path


def qcow2(path: Path, vdev: str = "xvda") -> DiskSpec:
    return DiskSpec(vdev=vdev, target=str(path), format=DiskFormat.QCOW2)


async def test_a_guest_boots_in_the_jail_with_disk_and_tap_by_descriptor_and_powers_off(
    sandbox: HostSandbox, tiny: TinyImage, tmp_path: Path
) -> None:
    disk = image(tmp_path / "root.qcow2", backing=image(tmp_path / "base.raw", kind="raw"))
    with own_namespace():
        network = HostNetwork(DefaultBridge(), VirtualClock())
        plugged = await network.plug(card("vif7.0"))
        assert plugged.descriptor is not None
        plan = plan_of(tiny.kernel, tiny.initramfs, (qcow2(disk),), (VifSpec(mac="00:16:3e:00:00:01"),))
        taps = ((0, plugged.descriptor),)
        async with guest(sandbox, plan, tmp_path / "run", taps) as run:
            os.close(plugged.descriptor)
            assert _status(run.pid)["Uid"].split() == [str(UID_BASE + 7)] * 4
            assert _status(run.pid)["CapEff"] == _status(run.pid)["CapBnd"] == "0" * 16
            assert int(_status(run.pid)["Seccomp_filters"]) >= 2, "QEMU's own sandbox is on beside the jail's"
            await run.execute("cont")
            await run.until_console(b"wirt-tiny ready")
            await run.type(
                "echo written | dd of=/dev/vda conv=fsync 2>/dev/null; ls /sys/class/net; echo all-do''ne\n"
            )
            await run.until_console(b"all-done")
            assert b"eth0" in run.console()

            await run.execute("system_powerdown")
            async with asyncio.timeout(60):
                while (await run.execute("query-status"))["status"] != "shutdown":
                    await asyncio.sleep(0.2)
            assert b"SHUTDOWN" in (run.directory / "events.log").read_bytes()
            await run.execute("quit")
            assert await run.ended() == 0
    await sandbox.clear(tmp_path / "run")
    assert b"written" in _contents(disk)


def _contents(path: Path) -> bytes:
    done = subprocess.run(
        ["qemu-img", "dd", "-f", "qcow2", "-O", "raw", "bs=512", "count=1", f"if={path}", f"of={path}.raw"],
        check=True,
        timeout=20,
    )
    assert done.returncode == 0
    return Path(f"{path}.raw").read_bytes()


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[Path]:
    backing = tmp_path / "device.raw"
    with backing.open("wb") as file:
        file.truncate(4 << 20)
    done = subprocess.run(
        ["losetup", "-f", "--show", backing], capture_output=True, text=True, timeout=10, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"needs a loop device: modprobe loop ({done.stderr.strip()})")
    device = Path(done.stdout.strip())
    try:
        yield device
    finally:
        subprocess.run(["losetup", "-d", device], check=True, timeout=10)


async def test_every_kind_of_disk_is_opened_by_descriptor_with_no_right_on_the_file(
    sandbox: HostSandbox, tiny: TinyImage, tmp_path: Path, loop_device: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    base = image(closed / "base.qcow2")
    middle = image(closed / "middle.qcow2", backing=base)
    top = image(closed / "top, with a comma.qcow2", backing=middle)
    raw = image(closed / "data.raw", kind="raw")
    templates = image(closed / "templates.qcow2")
    disks = (
        qcow2(top),
        DiskSpec(vdev="xvdb", target=str(raw)),
        DiskSpec(vdev="xvdc", target=str(loop_device)),
        DiskSpec(vdev="xvdd", target=str(templates), format=DiskFormat.QCOW2, writable=False),
        DiskSpec(vdev="hdc", target=str(image(closed / "setup.iso", kind="raw")), cdrom=True, writable=False),
    )
    async with guest(sandbox, plan_of(tiny.kernel, None, disks), tmp_path / "run") as run:
        nodes = {node["node-name"]: node for node in await run.execute("query-named-block-nodes")}

    assert {name: node["ro"] for name, node in nodes.items() if name.startswith("disk-")} == {
        "disk-xvda": False,
        "disk-xvda.1": True,
        "disk-xvda.2": True,
        "disk-xvdb": False,
        "disk-xvdc": False,
        "disk-xvdd": True,
        "disk-hdc": True,
    }
    assert nodes["disk-xvda"]["backing_file_depth"] == 2


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
async def test_an_image_is_locked_as_ever_and_free_again_when_its_run_has_ended(
    kind: str, sandbox: HostSandbox, tiny: TinyImage, tmp_path: Path
) -> None:
    disk = DiskSpec(vdev="xvda", target=str(image(tmp_path / f"one.{kind}", kind=kind)), format=DiskFormat(kind))
    async with guest(sandbox, plan_of(tiny.kernel, None, (disk,)), tmp_path / "one"):
        with pytest.raises(DidNotStart, match='Failed to get "write" lock'):
            async with guest(sandbox, plan_of(tiny.kernel, None, (disk,), domid=8), tmp_path / "two"):
                pass

    async with guest(sandbox, plan_of(tiny.kernel, None, (disk,), domid=9), tmp_path / "three"):
        pass


async def test_a_backing_file_is_shared_by_two_guests(
    sandbox: HostSandbox, tiny: TinyImage, tmp_path: Path
) -> None:
    base = image(tmp_path / "base.qcow2")
    one = qcow2(image(tmp_path / "one.qcow2", backing=base))
    two = qcow2(image(tmp_path / "two.qcow2", backing=base))
    async with (
        guest(sandbox, plan_of(tiny.kernel, None, (one,)), tmp_path / "one"),
        guest(sandbox, plan_of(tiny.kernel, None, (two,)), tmp_path / "two"),
    ):
        pass


async def test_a_kernel_that_only_root_may_read_is_copied_in(
    sandbox: HostSandbox, tiny: TinyImage, tmp_path: Path
) -> None:
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(tiny.kernel.read_bytes())
    kernel.chmod(0o600)
    async with guest(sandbox, plan_of(kernel, None), tmp_path / "run") as run:
        assert run.jail.copied == (str(kernel),)
        assert (await run.execute("query-status"))["status"] == "prelaunch"


async def test_the_daemon_finds_qemu_by_its_log_and_its_threads_by_qemus_numbers(
    sandbox: HostSandbox, tiny: TinyImage, tmp_path: Path
) -> None:
    async with guest(sandbox, plan_of(tiny.kernel, None), tmp_path / "run") as run:
        found = {identity.pid for identity in process.find(run.directory)}
        vcpus = await run.execute("query-cpus-fast")
        threads = host_threads(run.pid)

        assert found == {run.outer.pid, run.pid}
        told = vcpus[0]["thread-id"]
        name = Path(f"/proc/{run.pid}/task/{threads[told]}/comm").read_text()
        assert name.startswith("CPU 0/")


async def test_qemu_outlives_bubblewrap_and_the_end_of_qemu_ends_bubblewrap(
    sandbox: HostSandbox, tiny: TinyImage, tmp_path: Path
) -> None:
    async with guest(sandbox, plan_of(tiny.kernel, None), tmp_path / "run") as run:
        identity = next(found for found in process.find(run.directory) if found.pid == run.pid)
        run.outer.kill()
        await run.ended()
        assert (await run.execute("query-status"))["status"] == "prelaunch"

        adopted = process.adopt(identity)
        assert adopted is not None
        await adopted.kill()
        assert adopted.gone

    async with guest(sandbox, plan_of(tiny.kernel, None), tmp_path / "other") as run:
        os.kill(run.pid, signal.SIGKILL)
        assert await run.ended() == 128 + signal.SIGKILL


async def test_qemu_sees_no_descriptor_but_its_own(sandbox: HostSandbox, tiny: TinyImage, tmp_path: Path) -> None:
    disk = image(tmp_path / "root.qcow2")
    async with guest(sandbox, plan_of(tiny.kernel, None, (qcow2(disk),)), tmp_path / "run") as run:
        held = {str(link.readlink()) for link in Path(f"/proc/{run.pid}/fd").iterdir()}

    files = {name for name in held if name.startswith("/")}
    logs = {str(run.directory / name) for name in ("events.log", "console.log", "qemu.log")}
    assert files <= {str(disk), "/dev/null", "/dev/urandom"} | logs
    assert not any(name.startswith("pipe:") for name in held)


def _status(pid: int) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {key: value.strip() for key, value in pairs}
