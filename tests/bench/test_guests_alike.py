"""Contenders run the same guest: what is said to each of them is made from one description."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from bench.rigs.guests import Guest, bare_command

from wirt.config.xlcfg import load
from wirt.images.tiny import TinyImage
from wirt.model.domain import GuestType
from wirt.plan.launch import MACHINE

TINY = TinyImage(Path("/t/vmlinuz"), Path("/t/initramfs"), Path("/t/disk.qcow2"), "f")


def as_wirt_plans(directory: str, control: str, events: str, console: str) -> list[str]:
    log = "logappend=on"
    return [
        "/usr/bin/qemu-system-x86_64",
        *("-chardev", f"socket,id=control,{control},server=on,wait=off"),
        *("-chardev", f"socket,id=events,{events},server=on,wait=off,logfile={directory}/events.log,{log}"),
        *("-chardev", f"socket,id=console,{console},server=on,wait=off,logfile={directory}/console.log,{log}"),
        *("-smp", "cpus=1"),
    ]


def test_a_bare_qemu_makes_the_sockets_that_wirts_inherits_and_is_the_same_otherwise() -> None:
    planned = as_wirt_plans("/home/a,,b/run/0", "fd=10", "fd=11", "fd=12")
    paths = [f"path=/x/{name}.sock" for name in ("control", "events", "console")]
    assert bare_command(planned, Path("/x")) == as_wirt_plans("/x", *paths)


def test_wirt_understands_both_guests_without_a_warning() -> None:
    for guest, kind in ((Guest(TINY), GuestType.PVH), (Guest(TINY, Path("/d.qcow2")), GuestType.HVM)):
        loaded = load(guest.xl_config("web"), file="web.cfg", cwd=PurePosixPath("/"), overrides=())
        assert loaded.notices == ()
        assert (loaded.config.type, loaded.config.memory_mib) == (kind, guest.memory_mib)


def test_libvirt_gets_the_guest_that_wirt_gets() -> None:
    guest = Guest(TINY)
    domain = ElementTree.fromstring(guest.domain_xml("a&b", "/qemu", "tcg", Path("/c.log")))
    assert domain.get("type") == "qemu"
    assert domain.findtext("name") == "a&b"
    assert domain.findtext("memory") == str(guest.memory_mib)
    assert domain.findtext("os/kernel") == "/t/vmlinuz"
    machine = domain.find("os/type")
    assert machine is not None
    assert machine.get("machine") == MACHINE
    assert ElementTree.fromstring(guest.domain_xml("a", "/q", "kvm", Path("/c"))).get("type") == "kvm"
