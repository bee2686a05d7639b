"""What the kernel's refusals mean to whoever asked for a card."""

from __future__ import annotations

import errno

from wirt.model.errors import Shortage, Unavailable, WirtError

WITHOUT = "net=user in the vif does without bridges"

_HINTS = {
    errno.EPERM: f"run wirtd as root; {WITHOUT}",
    errno.EACCES: f"run wirtd as root; {WITHOUT}",
    errno.ENOENT: f"load the kernel's module: modprobe tun; {WITHOUT}",
    errno.ENODEV: f"load the kernel's module: modprobe tun; {WITHOUT}",
    errno.EOPNOTSUPP: f"load the kernel's module: modprobe bridge; {WITHOUT}",
    errno.EROFS: f"mount /proc/sys writable; {WITHOUT}",
    errno.EMFILE: "allow wirtd more open files (LimitNOFILE= of its unit)",
}


def refused(what: str, error: OSError) -> WirtError:
    """``what`` says what could not be had; the kernel's reason is put behind it."""
    if error.errno == errno.EXFULL:  # 1023 ports (Linux, net/bridge/br_private.h, BR_MAX_PORTS)
        return Shortage(f"{what}: the bridge has no free port left", hint="use a second bridge: bridge=NAME")
    return Unavailable(f"{what}: {error.strerror or error}", hint=_HINTS.get(error.errno or 0, WITHOUT))
