"""One guest in the words of each contender: xl.cfg, QEMU's options, libvirt's XML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from wirt.images.tiny import TinyImage
from wirt.plan.launch import MACHINE

READY = b"wirt-tiny ready"
"""What the tiny guest prints once everything in it is up."""


@dataclass(frozen=True, slots=True)
class Guest:
    """A tiny guest, booted directly (pvh) or through firmware from ``disk`` (hvm). It has no network card:
    what a bridge costs is the kernel's, and libvirt's differ."""

    tiny: TinyImage
    disk: Path | None = None
    wanted_mib: int | None = None
    words: str = ""
    """More for the kernel's command line."""
    more: str = ""
    """More lines for the xl.cfg."""
    identity: str = ""
    """A UUID for libvirt, which else makes one of its own."""

    @property
    def memory_mib(self) -> int:
        return self.wanted_mib or (96 if self.disk is None else 128)

    @property
    def command_line(self) -> str:
        return f"console=ttyS0 {self.words}".strip()

    def xl_config(self, name: str) -> str:
        lines = [f'name = "{name}"', f"memory = {self.memory_mib}"]
        if self.disk is None:
            lines += ['type = "pvh"', f'kernel = "{self.tiny.kernel}"', f'ramdisk = "{self.tiny.initramfs}"']
            lines += [f'extra = "{self.command_line}"']
        else:
            lines += ['type = "hvm"', f'disk = [ "{self.disk},qcow2,xvda,rw" ]']
        return "\n".join((*lines, self.more)) + "\n"

    def domain_xml(
        self, name: str, emulator: str, accelerator: str, console: Path, typed: Path | None = None, more: str = ""
    ) -> str:
        """The same directly booted guest for libvirt 9.0, which has no pvpanic on PCI and puts PCI Express root
        ports before the devices. ``typed``: where a socket is for what is typed; ``more`` devices."""
        kvm = accelerator == "kvm"
        identity = f"<uuid>{self.identity}</uuid>" if self.identity else ""
        file = escape(str(console))
        serial = f"<serial type='file'><source path='{file}'/></serial>"
        if typed is not None:
            source = f"<source mode='bind' path='{escape(str(typed))}'/><log file='{file}' append='on'/>"
            serial = f"<serial type='unix'>{source}</serial>"
        return f"""<domain type='{"kvm" if kvm else "qemu"}'>
  <name>{escape(name)}</name>{identity}<memory unit='MiB'>{self.memory_mib}</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='{MACHINE}'>hvm</type><kernel>{escape(str(self.tiny.kernel))}</kernel>
    <initrd>{escape(str(self.tiny.initramfs))}</initrd><cmdline>{self.command_line}</cmdline></os>
  <features><acpi/></features><cpu mode='{"host-passthrough" if kvm else "maximum"}'/><clock offset='utc'/>
  <devices><emulator>{escape(emulator)}</emulator><controller type='usb' model='none'/>
    {serial}{more}
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng><memballoon model='virtio'/>
    <panic model='isa'/><watchdog model='i6300esb' action='pause'/></devices>
</domain>
"""


def bare_command(planned: Sequence[str], directory: Path) -> list[str]:
    """wirt's command line for a QEMU that has ``directory`` to itself and makes its own sockets there, instead
    of inheriting them."""
    logs = next(match[1] for word in planned if (match := re.search(r"logfile=(.*)/events\.log", word)))
    words = [word.replace(logs, str(directory).replace(",", ",,")) for word in planned]
    return [re.sub(r"^socket,id=(\w+),fd=\d+", rf"socket,id=\1,path={directory}/\1.sock", word) for word in words]
