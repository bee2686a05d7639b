"""A lab on one machine: hosts made of network namespaces, each with a wirtd, a home and links of its own."""

from wirt.lab.errors import LabError
from wirt.lab.hosts import LabHost
from wirt.lab.lab import Lab

__all__ = ["Lab", "LabError", "LabHost"]
