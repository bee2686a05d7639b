"""The host as Linux shows it (proc(5))."""

from wirt.machine.linux import LinuxMachine

__all__ = ["LinuxMachine"]
