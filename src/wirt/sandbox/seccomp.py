"""The jail's system call filter, as the BPF program that bwrap loads (seccomp(2), bwrap(1) ``--seccomp``). Pure.

It holds beside QEMU's own (``-sandbox on``) and does not trust QEMU to have loaded that. It denies what would open
more of the kernel to a process that has lost everything else: new namespaces, where it would be root again;
tracing; keys, BPF and, unless a disk is served with it, io_uring; limits, which are the daemon's to move; sockets
of families that no network namespace holds back (vsock), or that nothing here needs.
"""

from __future__ import annotations

import struct

AUDIT_ARCH_X86_64 = 0xC000003E
X32_BIT = 0x40000000
EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
CLONE, CLONE3, SOCKET, PRLIMIT = 56, 435, 41, 302

NEW_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (clone(2)). The time namespace can't be made by
clone, only by unshare."""

DENIED = {
    "ptrace": 101, "syslog": 103, "mknod": 133, "uselib": 134, "vhangup": 153, "modify_ldt": 154,
    "pivot_root": 155, "adjtimex": 159, "setrlimit": 160, "chroot": 161, "acct": 163, "settimeofday": 164,
    "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170,
    "setdomainname": 171, "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module": 176, "quotactl": 179,
    "clock_settime": 227, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250,
    "migrate_pages": 256, "mknodat": 259, "unshare": 272, "move_pages": 279, "perf_event_open": 298,
    "fanotify_init": 300, "name_to_handle_at": 303, "open_by_handle_at": 304, "clock_adjtime": 305,
    "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "finit_module": 313,
    "kexec_file_load": 320, "bpf": 321, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443,
}  # fmt: skip
"""x86-64 numbers (Linux, arch/x86/entry/syscalls/syscall_64.tbl)."""

IO_URING = frozenset(number for name, number in DENIED.items() if name.startswith("io_uring_"))

_LOAD, _JUMP_EQUAL, _JUMP_SET, _JUMP_GREATER_OR_EQUAL, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _THIRD_ARGUMENT = 0, 4, 16, 32
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000


def program(machine: str, *, io_uring: bool = False) -> bytes | None:
    """The filter for ``machine`` (uname(2)), or ``None`` where there is none: the numbers differ everywhere."""
    if machine != "x86_64":
        return None
    code: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, AUDIT_ARCH_X86_64),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_GREATER_OR_EQUAL, 0, 1, X32_BIT),
        (_RETURN, 0, 0, _ERROR | ENOSYS),
        # glibc falls back to clone, whose flags can be looked at; those of clone3 are behind a pointer.
        (_JUMP_EQUAL, 0, 1, CLONE3),
        (_RETURN, 0, 0, _ERROR | ENOSYS),
        (_JUMP_EQUAL, 0, 4, CLONE),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_SET, 0, 1, NEW_NAMESPACES),
        (_RETURN, 0, 0, _ERROR | EPERM),
        (_RETURN, 0, 0, _ALLOW),
        (_JUMP_EQUAL, 0, 6, SOCKET),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_EQUAL, 3, 0, AF_UNIX),
        (_JUMP_EQUAL, 2, 0, AF_INET),
        (_JUMP_EQUAL, 1, 0, AF_INET6),
        (_RETURN, 0, 0, _ERROR | EAFNOSUPPORT),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code += [
        # prlimit(2) that only asks has no new limits; a pointer has two halves.
        (_JUMP_EQUAL, 0, 6, PRLIMIT),
        (_LOAD, 0, 0, _THIRD_ARGUMENT),
        (_JUMP_EQUAL, 0, 3, 0),
        (_LOAD, 0, 0, _THIRD_ARGUMENT + 4),
        (_JUMP_EQUAL, 0, 1, 0),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERROR | EPERM),
    ]
    numbers = sorted(number for number in DENIED.values() if not (io_uring and number in IO_URING))
    # Each jumps over those behind it and the ALLOW at their end, to the refusal.
    code += [(_JUMP_EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    code += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERROR | EPERM)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
