"""The in-memory driver: a whole host's guests as plain values, for tests, simulation and benchmarks."""

from wirt.hypervisors.fake.counters import FakeCounters, FakeCounts
from wirt.hypervisors.fake.driver import FakeHypervisor
from wirt.hypervisors.fake.faults import DaemonDies, DaemonKilled, Die, Fault, Refuse, Silence, Verb
from wirt.hypervisors.fake.guest import FakeGuest
from wirt.hypervisors.fake.images import ImageLocks
from wirt.hypervisors.fake.live_disks import FakeLiveDisks
from wirt.hypervisors.fake.world import FakeWorld

__all__ = [
    "DaemonDies",
    "DaemonKilled",
    "Die",
    "FakeCounters",
    "FakeCounts",
    "FakeGuest",
    "FakeHypervisor",
    "FakeLiveDisks",
    "FakeWorld",
    "Fault",
    "ImageLocks",
    "Refuse",
    "Silence",
    "Verb",
]
