"""What follows when a real guest ends by itself: Xen's event actions, seen from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage

from .guests import READY, Watch, command, pvh, watch
from .host import Host, wait_until

pytestmark = pytest.mark.real

ARM_WATCHDOG = r"""
for d in /sys/bus/pci/devices/*; do grep -q 0x25ab $d/device && break; done
echo 1 > $d/enable; a=$(head -n 1 $d/resource | cut -d ' ' -f 1)
u() { busybox devmem $((a+12)) 16 0x80; busybox devmem $((a+12)) 16 0x86; }
u; busybox devmem $a 32 1; u; busybox devmem $((a+4)) 32 1; u; busybox devmem $((a+12)) 16 0x100
printf '\002' | dd of=$d/config bs=1 seek=104 conv=notrunc
"""
"""Sets off the i6300ESB (Intel 6300ESB datasheet, 16), for which the directly booted kernel has no driver."""

RESET_AT_ONCE = bytes.fromhex("baf90c b006 ee f4")
"""mov dx,0xcf9; mov al,6; out dx,al; hlt: a hard reset (Intel ICH9 datasheet, 13.7.5)."""


@pytest.fixture
def host(shared_real_host: Host) -> Iterator[Host]:
    yield shared_real_host
    shared_real_host.tidy()


def until_ready(host: Host, name: str) -> None:
    with watch(host, name) as console:
        console.until(READY)


def until_new_run(host: Host, name: str, domid: int) -> int:
    """The domid of the run that follows ``domid``."""
    wait_until(
        lambda: name in host.names() and (host.domain(name)["domid"] or 0) > domid, 60, f"a new run of {name}"
    )
    return int(host.domain(name)["domid"])


def test_a_guest_that_ends_is_treated_as_its_configuration_says(host: Host, tiny: TinyImage) -> None:
    """Two guests side by side, since each boot takes seconds."""
    crash = 'on_crash = "coredump-restart"\non_poweroff = "preserve"'
    host.ok("create", host.write("crash.cfg", pvh(tiny, "crash", more=crash)))
    reset = 'on_reboot = "restart"\non_watchdog = "rename-restart"'
    host.ok("create", host.write("reset.cfg", pvh(tiny, "reset", more=reset)))
    domids = {name: host.domain(name)["domid"] for name in ("crash", "reset")}
    for name in domids:
        until_ready(host, name)

    command(host, "crash", "panic")
    command(host, "reset", "reboot")
    for name in domids:
        domids[name] = until_new_run(host, name, domids[name])
        until_ready(host, name)
    [core] = Path(host.home.dumps).iterdir()
    assert core.name.startswith("crash-")
    with core.open("rb") as file:
        assert file.read(4) == b"\x7fELF"
    assert core.stat().st_size > 90 * 2**20, "the guest has 96 MiB"
    assert core.stat().st_mode & 0o077 == 0, "a guest's memory is nobody else's"
    core.unlink()

    command(host, "crash", "poweroff")
    with Watch(host, "console", "reset") as console:
        for line in ARM_WATCHDOG.strip().splitlines():
            console.type(line + "\n")
        until_new_run(host, "reset", domids["reset"])
    host.ok("wait", "crash", "--until", "shutdown", "--timeout", "60")
    assert host.domain("crash")["flags"] == "---s--"
    [kept] = [name for name in host.names() if name.startswith("reset-")]
    assert host.domain(kept)["flags"] == "----c-"
    assert host.domain(kept)["end_reason"] == "watchdog"
    assert host.domain(kept)["domid"] == domids["reset"]
    assert READY.decode() in host.ok("console", "--no-follow", kept).out
    assert len(host.guests()) == 3


def test_a_guest_that_resets_over_and_over_is_given_up(host: Host) -> None:
    rom = bytearray(b"\xf4" * 65536)
    rom[0xFFF0 : 0xFFF0 + len(RESET_AT_ONCE)] = RESET_AT_ONCE
    firmware = host.scratch / "reset.rom"
    firmware.write_bytes(rom)
    begin = host.json("list")["revision"]
    config = f'name = "loop"\ntype = "hvm"\nmemory = 16\nfirmware = "{firmware}"\non_reboot = "restart"\n'
    host.ok("create", host.write("loop.cfg", config))
    wait_until(lambda: host.names() == [], 60, "an end of it")
    host.assert_nothing_left()
    with Watch(host, "-o", "json", "events", "--after", str(begin)) as stream:
        stream.until(b'"state": "off"')
    events = [json.loads(line) for line in stream.output.splitlines() if line.endswith(b"}")]
    data = [event["data"] for event in events if event["kind"] == "domain"]
    assert len({each["domid"] for each in data if each["domid"]}) == 6, "the first run and five more"
    assert "ended 5 times within 60 s" in data[-1]["message"]
