"""The host as Linux shows it (proc(5), sysfs(5))."""

from wirt.machine.linux import LinuxMachine
from wirt.machine.topology import LinuxProcessors

__all__ = ["LinuxMachine", "LinuxProcessors"]
