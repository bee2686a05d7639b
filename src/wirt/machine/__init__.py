"""The host as Linux shows it (proc(5), sysfs(5))."""

from wirt.machine.fake_memory import FakeHostMemory
from wirt.machine.linux import LinuxMachine
from wirt.machine.memory import LinuxMemory
from wirt.machine.topology import LinuxProcessors

__all__ = ["FakeHostMemory", "LinuxMachine", "LinuxMemory", "LinuxProcessors"]
