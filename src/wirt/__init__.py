"""wirt: what Xen is, made modern, in Python."""
