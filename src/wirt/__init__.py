"""wirt: what Xen is, made modern, in Python."""

__version__ = "0.1.0"
