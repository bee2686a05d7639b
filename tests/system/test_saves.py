"""Real guests in files, from the command line to what they were counting."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage
from wirt.model.units import MIB

from .conftest import give_facts
from .guests import READY, ask, hvm, port_of, pvh, ticks, watch
from .host import Host, a_host, wait_until

pytestmark = pytest.mark.real


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """In nobody's home."""
    path = tmp_path / "root.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "16M"], check=True, timeout=60)
    return path


@pytest.fixture
def web(real_host: Host, tiny: TinyImage, disk: Path) -> Host:
    """A defined guest with a disk, up."""
    text = pvh(tiny, "web", cmdline="wirt.tick=100", more=f'disk = ["{disk},qcow2,xvda,rw"]')
    real_host.ok("define", real_host.write("web.cfg", text))
    real_host.ok("start", "web")
    with watch(real_host, "web") as console:
        console.until(READY)
    return real_host


def write(host: Host, seed: int) -> None:
    assert "ok=1" in ask(port_of(host, "web"), f"wirt disk-write vda 0 {4 * MIB} {seed}")


def holds(host: Host, seed: int) -> bool:
    return "ok=1" in ask(port_of(host, "web"), f"wirt disk-verify vda 0 {4 * MIB} {seed}")


def state(host: Host) -> str:
    return str(host.domain("web")["state"])


def test_a_guest_goes_on_from_its_file_here_and_on_another_host(
    web: Host, tmp_path: Path, qemu_facts: Path, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "web.saved")
    assert "snapshot create" in web.fails("save", "-c", "web", file)
    write(web, 1)
    said = web.ok("save", "web", file).out
    with capsys.disabled():
        print(f"\n{said.strip()}")
    assert (state(web), web.domain("web")["saved"]) == ("off", file)
    assert Path(file).stat().st_size < 96 * MIB / 2
    assert "wirt restore" in web.fails("start", "web")
    assert "known and off" in web.ok("restore", "-n", file).out
    assert state(web) == "off"

    web.ok("restore", file)
    with watch(web, "web") as console:
        console.until(b"mono=", count=3)
    first = ticks(console.output)[0]
    assert first > 1, "it began anew"
    assert holds(web, 1)
    assert "of which strange" not in web.run("-o", "json", "audit", "web").out

    _kill_in_the_middle(web, tmp_path)
    web.ok("save", "--force", "web", file)
    with a_host(give_facts(tmp_path / "other", qemu_facts), tmp_path / "scratch", start=False) as other:
        (tmp_path / "scratch").mkdir()
        other.start()
        other.ok("restore", file)
        with watch(other, "web") as console:
            console.until(b"mono=", count=3)
        assert ticks(console.output)[0] > first
        assert holds(other, 1)
        write(other, 2)
        other.ok("destroy", "web")
        assert "written since" in other.fails("restore", file)
        other.ok("undefine", "web")
    assert "written since" in web.fails("restore", file)
    subprocess.run(["qemu-img", "check", "-q", disk], check=True, timeout=60)
    web.ok("start", "--discard-saved", "web")
    web.ok("destroy", "web")
    web.ok("undefine", "web")


def _kill_in_the_middle(web: Host, tmp_path: Path) -> None:
    """The guest goes on, or the file does."""
    file = tmp_path / "second.saved"
    saving = web.spawn("wirt", "save", "web", str(file), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: file.exists() or list(tmp_path.glob(".second*")), 60, "the file to appear")
    web.kill9()
    saving.wait(60)
    web.start()
    wait_until(lambda: state(web) in ("running", "off"), 60, "the job to be taken up")
    wait_until(lambda: not _unfinished(web), 60, "the job to be taken up")
    assert not list(tmp_path.glob(".second*"))
    assert (state(web) == "running") != file.exists()
    if file.exists():
        web.ok("restore", str(file))
    assert holds(web, 1)


def _unfinished(host: Host) -> bool:
    jobs = json.loads(host.ok("-o", "json", "jobs").out)["jobs"]
    return any(job["state"] not in ("done", "failed", "cancelled") for job in jobs)


@pytest.mark.long
@pytest.mark.parametrize("firmware", ["seabios", "ovmf"])
def test_a_guest_with_firmware_on_a_clone_goes_on_with_its_cards_of_then(
    real_host: Host, tiny: TinyImage, tmp_path: Path, firmware: str
) -> None:
    """Disks that stand on others, an emulated card, and one that was plugged in while it ran."""
    file, host = str(tmp_path / "web.saved"), real_host
    host.ok("volume", "import", "default/base", str(tiny.disk))
    host.ok("volume", "clone", "default/base", "root")
    text = hvm(Path("default/root"), "web", more=f'firmware = "{firmware}"')
    text = text.replace(",qcow2,", ",,").replace("memory = 128", "memory = 256")
    host.ok("define", host.write("web.cfg", text))
    host.ok("start", "web")
    with watch(host, "web") as console:
        console.until(READY)
    host.ok("network-attach", "web", "net=user")
    ask(port_of(host, "web"), "wirt dirty 8 4")
    host.ok("save", "web", file)
    host.ok("restore", file)
    assert "ok=1" in ask(port_of(host, "web"), "wirt mem-verify")
    host.ok("network-detach", "web", "1")
    host.ok("destroy", "web")
    assert "vif 1 was" in host.fails("restore", "--force", host.write("less.cfg", text), file)
    host.ok("undefine", "web")
    host.ok("restore", "--force", file)
    assert "ok=1" in ask(port_of(host, "web"), "wirt mem-verify")
    host.ok("destroy", "web")
    host.ok("undefine", "web")
