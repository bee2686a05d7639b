"""A host in the test host, guests under KVM, and what control groups of version 2 say of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.testhost.test_kvm import PATIENT_S, learn_patiently

from wirt.images.tiny import TinyImage

from .guests import READY, kept_console, pvh
from .host import Host, a_host, wait_until

MOUNT = Path("/sys/fs/cgroup")
__all__ = ["MOUNT", "PATIENT_S", "a_kvm_host", "counts", "group_of", "guest", "up"]


@contextmanager
def a_kvm_host(scratch: Path, settings: str = "", **options: Any) -> Iterator[Host]:
    """``settings``: its wirt.toml. No group of a run is left behind it."""
    learn_patiently(scratch / "home")
    (scratch / "home/wirt.toml").write_text(settings)
    with a_host(scratch / "home", scratch, **options) as host:
        assert host.json("info")["accelerator"] == "kvm"
        yield host
    assert not [place for place in MOUNT.rglob("wirt") if place.is_dir()], "groups of runs are left"


def guest(
    host: Host, tiny: TinyImage, name: str, more: str = "", *, words: str = "", paused: bool = False
) -> Path:
    """Create it; the group of its QEMU. ``words`` are the tiny guest's."""
    text = pvh(tiny, name, vif="net=none", cmdline=f"quiet mitigations=off {words}", more=more)
    host.ok("create", *(["-p"] if paused else []), host.write(f"{name}.cfg", text))
    return group_of(host.domain(name)["pid"])


def up(host: Host, name: str) -> None:
    wait_until(lambda: READY in kept_console(host, name), PATIENT_S, f"{name} to come up")


def group_of(pid: int) -> Path:
    """Where the kernel has it (proc(5), /proc/pid/cgroup)."""
    line = Path(f"/proc/{pid}/cgroup").read_text().strip()
    return MOUNT / line.removeprefix("0::/")


def counts(place: Path, file: str) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in (place / file).read_text().splitlines())}
