"""The tiny guest in bare QEMU: direct boot, and its disk through SeaBIOS and OVMF."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage

from .guest import READY, TICK, Guest, pairs

pytestmark = pytest.mark.real

BOOT_S = 90.0
FIRMWARE_BOOT_S = 180.0
DATA_BYTES = 16 << 20
_MASK = (1 << 64) - 1


def disk_pattern(seed: int, offset: int, size: int) -> bytes:
    """What `disk-write` puts there: the guest's content, thought out a second time."""
    out = bytearray()
    for index in range(offset // 8, (offset + size) // 8):
        z = (seed + (index + 1) * 0x9E3779B97F4A7C15) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        out += (z ^ (z >> 31)).to_bytes(8, "little")
    return bytes(out)


def data_disk(folder: Path) -> Path:
    file = folder / "data.raw"
    with file.open("wb") as raw:
        raw.truncate(DATA_BYTES)
    return file


def direct(image: TinyImage, append: str, memory_mb: int) -> list[str | Path]:
    kernel: list[str | Path] = ["-kernel", image.kernel, "-initrd", image.initramfs]
    return ["-M", "q35", "-m", str(memory_mb), *kernel, "-append", f"console=ttyS0 quiet {append}"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("direct")


@pytest.fixture(scope="module")
def guest(tiny_image: TinyImage, folder: Path) -> Iterator[Guest]:
    """One guest for all tests that leave it alive."""
    arguments = [
        *direct(tiny_image, "hostname=probe tick=200 spin=0", 128),
        *("-drive", f"if=none,id=d,format=raw,file={data_disk(folder)}", "-device", "virtio-blk-pci,drive=d"),
        *("-device", "virtio-balloon-pci", "-device", "pvpanic-pci"),
    ]
    with Guest(folder, "virtio-net-pci", arguments) as running:
        running.ready(BOOT_S)
        yield running


def test_ready_line_says_what_the_guest_sees(guest: Guest) -> None:
    fields = guest.ready(BOOT_S)
    assert fields["cpus"] == "1"
    assert 60_000 < int(fields["mem_kb"]) < 128 * 1024
    assert (fields["ip"], fields["nics"], fields["disks"]) == ("10.0.2.15/24", "1", "vda")
    assert fields["kernel"].endswith("-cloud-amd64")
    assert float(fields["up"]) > 0
    assert len(READY.findall(guest.console)) == 1


def test_ticks_count_from_one_without_gap_and_time_moves_on(guest: Guest) -> None:
    guest.wait_for(lambda: len(TICK.findall(guest.console)) >= 5, 30)
    found = TICK.findall(guest.console)
    assert [int(number) for number, _ in found] == list(range(1, len(found) + 1))
    times = [float(when) for _, when in found]
    assert times == sorted(set(times))


def test_echo_over_udp_returns_the_datagram(guest: Guest) -> None:
    assert guest.datagram(b"\0\xff hello") == b"\0\xff hello"


def test_echo_over_tcp_returns_every_byte(guest: Guest) -> None:
    data = bytes(range(256)) * 200 + b"wir not quite\nwirt" * 3 + b"\n"
    with guest.connect() as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        received = bytearray()
        while len(received) < len(data) and (part := sock.recv(65536)):
            received += part
    assert bytes(received) == data


def test_commands_are_answered_between_echoed_lines(guest: Guest) -> None:
    with guest.connect() as sock, sock.makefile("rb") as lines:
        sock.sendall(b"before\nwirt tick 200\nafter\n")
        assert [lines.readline() for _ in range(3)] == [b"before\n", b"ok=1 tick=200\n", b"after\n"]


def test_commands_are_answered_over_udp_too(guest: Guest) -> None:
    answer = pairs(guest.datagram(b"wirt stat").decode())
    assert int(answer["ticks"]) >= 0
    assert float(answer["monotonic"]) > 0


@pytest.mark.parametrize(
    "command",
    [
        "",
        "nonsense",
        "spin",
        "spin -1",
        "spin 65",
        "spin 1 2",
        "spin 0x1",
        "spin 99999999999999999999999999",
        "dirty 100000 1",
        "tick 1e3",
        "flood nowhere 7 1 1",
        "flood 10.0.2.2 0 1 1",
        "flood 10.0.2.2 65536 1 1",
        "spin-yield 1 10 20",
        "disk-write ../etc/passwd 0 512 1",
        "disk-write null 0 512 1",
        "disk-write vda 1 512 1",
        "disk-write vda 0 0 1",
        f"disk-write vda {DATA_BYTES} 512 1",
        "disk-speed vdq read seq 4096 1 100",
        "disk-speed vda erase seq 4096 1 100",
        "disk-speed vda read backwards 4096 1 100",
        "disk-speed vda read seq 100 1 100",
        "disk-speed vda read seq 4096 33 100",
        "disk-speed vda read seq 4096 1 0",
        "watchdog 601",
        "stat " + "x " * 20,
    ],
)
def test_bad_commands_are_refused_and_change_nothing(guest: Guest, command: str) -> None:
    assert guest.ask(command).startswith("error")
    assert guest.datagram(b"alive?") == b"alive?"


def test_an_endless_line_only_costs_its_own_connection(guest: Guest) -> None:
    with guest.connect() as sock:
        sock.sendall(b"wirt " + b"a" * 5000)
        try:
            rest = sock.recv(100)
        except ConnectionResetError:
            rest = b""
        assert rest == b""
    assert guest.datagram(b"wirt " + b"a" * 5000) == b"error too long\n"
    assert guest.datagram(b"alive?") == b"alive?"


def test_dirtied_memory_goes_on_changing_and_stays_right(guest: Guest) -> None:
    guest.ok("dirty 16 4")
    guest.wait_for(lambda: int(guest.ok("stat")["dirtied"]) > 16 * 256, 30)
    first = int(guest.ok("stat")["dirtied"])
    checked = guest.ok("mem-verify")
    assert (checked["ok"], checked["pages"]) == ("1", str(16 * 256))
    guest.wait_for(lambda: int(guest.ok("stat")["dirtied"]) > first, 30)
    assert guest.ok("mem-verify")["wrong"] == "0"
    guest.ok("dirty 0")
    assert guest.ok("mem-verify")["pages"] == "0"


def test_dirty_rate_is_about_what_was_asked_for(guest: Guest) -> None:
    guest.ok("dirty 8 4")
    guest.wait_for(lambda: int(guest.ok("stat")["dirtied"]) > 0 and guest.ok("mem-verify")["round"] != "0", 30)
    before = guest.ok("stat")
    time.sleep(2)
    after = guest.ok("stat")
    guest.ok("dirty 0")
    elapsed = float(after["monotonic"]) - float(before["monotonic"])
    rate = (int(after["dirtied"]) - int(before["dirtied"])) / 256 / elapsed
    assert 2 < rate < 6


def test_spinners_start_and_stop(guest: Guest) -> None:
    guest.ok("spin 2")
    first = int(guest.ok("stat")["spins"])
    guest.wait_for(lambda: int(guest.ok("stat")["spins"]) > first, 30)
    guest.ok("spin-yield 1 20000 5000")
    second = int(guest.ok("stat")["spins"])
    guest.wait_for(lambda: int(guest.ok("stat")["spins"]) > second, 30)
    guest.ok("spin 0")
    time.sleep(0.3)
    stopped = guest.ok("stat")["spins"]
    time.sleep(0.5)
    assert guest.ok("stat")["spins"] == stopped


def test_disk_content_follows_from_the_seed_and_damage_is_found(guest: Guest, folder: Path) -> None:
    written = guest.ok("disk-write vda 4096 1048576 77")
    assert (written["ok"], written["bytes"]) == ("1", "1048576")
    with (folder / "data.raw").open("rb") as raw:
        raw.seek(8192)
        assert raw.read(4096) == disk_pattern(77, 8192, 4096)
    assert guest.ok("disk-verify vda 8192 65536 77")["ok"] == "1"
    assert guest.ok("disk-verify vda 4096 512 78")["ok"] == "0"
    guest.ok("disk-write vda 512000 512 1")
    assert guest.ok("disk-verify vda 4096 1048576 77") == {"ok": "0", "bytes": "1048576", "first_wrong": "512000"}


def test_a_disks_speed_is_told_for_reads_and_writes_in_order_and_not(guest: Guest) -> None:
    for way, order, block in (("read", "seq", 262144), ("write", "seq", 4096), ("read", "random", 4096)):
        told = guest.ok(f"disk-speed vda {way} {order} {block} 4 300")
        assert int(told["requests"]) > 0
        assert float(told["seconds"]) >= 0.3
        moved_mib = int(told["requests"]) * block / (1 << 20)
        assert abs(float(told["mib_s"]) * float(told["seconds"]) - moved_mib) < 0.05 * moved_mib + 0.1


def test_flood_sends_at_its_rate_and_ends(guest: Guest) -> None:
    before = int(guest.ok("stat")["flood_sent"])
    guest.ok("flood 10.0.2.2 9 2 1")
    time.sleep(2)
    sent = int(guest.ok("stat")["flood_sent"]) - before
    assert 100_000 < sent < 300_000


def test_flooding_is_counted_and_not_echoed(guest: Guest) -> None:
    before = int(guest.ok("stat")["flood_received"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"wirt-flood " + bytes(1389), ("127.0.0.1", guest.port))
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            sock.recv(2000)
    assert int(guest.ok("stat")["flood_received"]) == before + 1400


def test_time_can_be_set(guest: Guest) -> None:
    guest.ok("settime 1000000000")
    assert 1_000_000_000 <= float(guest.ok("stat")["wall"]) < 1_000_000_060


def test_shell_on_the_console_answers_and_can_stop_the_ticks(guest: Guest) -> None:
    guest.type("ticks off; echo host-is-$(hostname)\n")
    guest.wait_for(lambda: "host-is-probe\n" in guest.console, 30)
    before = guest.ok("stat")["ticks"]
    time.sleep(1)
    assert guest.ok("stat")["ticks"] == before


def test_panic_is_seen_by_pvpanic(guest: Guest) -> None:
    """Last in this file to use the shared guest."""
    qmp = guest.qmp()
    assert guest.ask("panic") == "ok=1"
    assert qmp.event("GUEST_PANICKED")["data"]["action"] in ("pause", "poweroff", "run")


def test_80_mb_are_enough_and_the_power_button_powers_off(tiny_image: TinyImage, tmp_path: Path) -> None:
    with Guest(tmp_path, "virtio-net-pci", direct(tiny_image, "ip=10.0.2.99/24 gw=10.0.2.2", 80)) as guest:
        assert guest.ready(BOOT_S)["ip"] == "10.0.2.99/24"
        guest.qmp().execute("system_powerdown")
        guest.process.wait(timeout=30)
        assert "\nwirt-tiny power button\n" in guest.console


def test_disk_boots_through_seabios_with_emulated_hardware(tiny_image: TinyImage, tmp_path: Path) -> None:
    disk = shutil.copy(tiny_image.disk, tmp_path / "disk.qcow2")
    arguments: list[str | Path] = [
        *("-M", "q35", "-m", "128", "-smp", "2"),
        *("-drive", f"if=none,id=boot,file={disk}", "-device", "ide-hd,drive=boot,bus=ide.0,bootindex=1"),
        *("-drive", f"if=none,id=data,format=raw,file={data_disk(tmp_path)}"),
        *("-device", "ide-hd,drive=data,bus=ide.1", "-device", "i6300esb", "-action", "watchdog=none"),
        *("-smbios", "type=11,value=wirt:hostname=byname,value=wirt:tick=0,value=other:tick=7"),
    ]
    with Guest(tmp_path, "e1000", arguments) as guest:
        fields = guest.ready(FIRMWARE_BOOT_S)
        assert (fields["cpus"], fields["nics"], fields["disks"]) == ("2", "1", "sda,sdb")
        assert fields["ip"] == "10.0.2.15/24"
        assert guest.datagram(b"echo") == b"echo"
        assert guest.ok("disk-write sdb 0 65536 5")["ok"] == "1"
        assert guest.ok("disk-verify sdb 0 65536 5")["ok"] == "1"
        assert guest.ok("stat")["ticks"] == "0"
        guest.type("echo host-is-$(hostname)\n")
        guest.wait_for(lambda: "host-is-byname\n" in guest.console, 30)
        qmp = guest.qmp()
        guest.ok("watchdog 2")
        assert qmp.event("WATCHDOG")["data"]["action"] == "none"


def test_disk_boots_through_ovmf(tiny_image: TinyImage, tmp_path: Path) -> None:
    firmware = Path("/usr/share/OVMF")
    if not (firmware / "OVMF_CODE_4M.fd").exists():
        pytest.skip("needs UEFI firmware for guests: apt-get install ovmf")
    disk = shutil.copy(tiny_image.disk, tmp_path / "disk.qcow2")
    variables = shutil.copy(firmware / "OVMF_VARS_4M.fd", tmp_path / "vars.fd")
    arguments: list[str | Path] = [
        *("-M", "q35", "-m", "256"),
        *("-drive", f"if=pflash,format=raw,readonly=on,file={firmware / 'OVMF_CODE_4M.fd'}"),
        *("-drive", f"if=pflash,format=raw,file={variables}"),
        *("-drive", f"if=none,id=boot,file={disk}", "-device", "virtio-blk-pci,drive=boot,bootindex=1"),
        *("-smbios", "type=11,value=wirt:ip=10.0.2.44/24"),
    ]
    with Guest(tmp_path, "virtio-net-pci", arguments) as guest:
        fields = guest.ready(FIRMWARE_BOOT_S)
        assert (fields["ip"], fields["disks"]) == ("10.0.2.44/24", "vda")
        # User-mode networking finds the guest by its default address only, so it is the console that is asked.
        guest.type("wirt poweroff\n")
        guest.process.wait(timeout=30)
        assert "wirt-tiny poweroff\n" in guest.console
