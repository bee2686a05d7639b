"""The Open Virtualization Format (DMTF DSP0243, versions 1.0 to 2.1), read and written. Text to model, nothing
else."""

from __future__ import annotations

from wirt.config.ovf.envelope import read
from wirt.config.ovf.writing import FORMATS, write

__all__ = ["FORMATS", "read", "write"]
