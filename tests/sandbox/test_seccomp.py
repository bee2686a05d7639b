"""The filter, run by a small interpreter of its own: every call of the kernel's table, and what it answers."""

from __future__ import annotations

import errno
import struct

import pytest

from wirt.sandbox import seccomp

ALLOW, KILL = 0x7FFF0000, 0x80000000
CODE = seccomp.program("x86_64")
CLONE_THREAD_OF_GLIBC = 0x3D0F00
CLONE_NEWUSER = 0x10000000


WITH_RINGS = seccomp.program("x86_64", io_uring=True)
X86_64 = seccomp.AUDIT_ARCH_X86_64


def answer(
    number: int, first: int = 0, third: int = 0, architecture: int = X86_64, program: bytes | None = CODE
) -> int:
    """What the kernel would do (Linux, Documentation/networking/filter.rst)."""
    assert program is not None
    code = list(struct.iter_unpack("=HBBI", program))
    data = struct.pack("=IIQ6Q", number, architecture, 0, first, 0, third, 0, 0, 0)
    place, accumulator = 0, 0
    while True:
        operation, if_true, if_false, value = code[place]
        place += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif operation == 0x06:
            return int(value)
        else:
            holds = {
                0x15: accumulator == value,
                0x45: bool(accumulator & value),
                0x35: accumulator >= value,
            }[operation]
            place += if_true if holds else if_false


def refuses(number: int, first: int = 0) -> int:
    result = answer(number, first)
    return 0 if result == ALLOW else result & 0xFFFF


def test_each_denied_call_is_refused_and_each_other_one_is_let_through() -> None:
    special = {seccomp.CLONE3, seccomp.SOCKET}
    for number in range(470):
        expected = errno.EPERM if number in seccomp.DENIED.values() else 0
        if number not in special:
            assert refuses(number) == expected, number


@pytest.mark.parametrize("flags", [CLONE_THREAD_OF_GLIBC, 17])
def test_threads_and_children_can_be_made(flags: int) -> None:
    assert refuses(seccomp.CLONE, flags) == 0


@pytest.mark.parametrize("bit", [1 << bit for bit in range(32) if seccomp.NEW_NAMESPACES >> bit & 1])
def test_no_namespace_can_be_made_by_clone(bit: int) -> None:
    assert refuses(seccomp.CLONE, bit | 17) == errno.EPERM


def test_clone3_is_said_to_be_unknown_so_that_libraries_use_clone() -> None:
    assert refuses(seccomp.CLONE3) == errno.ENOSYS


@pytest.mark.parametrize(("family", "error"), [(1, 0), (2, 0), (10, 0), (16, 97), (17, 97), (38, 97), (40, 97)])
def test_sockets_are_unix_or_internet(family: int, error: int) -> None:
    assert refuses(seccomp.SOCKET, family) == error


def test_limits_may_be_asked_for_and_not_moved() -> None:
    assert answer(seccomp.PRLIMIT, third=0) == ALLOW
    for pointer in (1, 1 << 32, 0x7FFF_0000_1000):
        assert answer(seccomp.PRLIMIT, third=pointer) & 0xFFFF == errno.EPERM


def test_there_is_no_second_door() -> None:
    assert answer(0, architecture=0x40000003) == KILL, "i386"
    assert refuses(seccomp.X32_BIT | 101) == errno.ENOSYS, "x32"


def test_a_machine_whose_numbers_are_unknown_has_no_filter() -> None:
    assert seccomp.program("aarch64") is None


def test_rings_are_let_through_for_a_disk_that_is_served_with_them_and_nothing_else_is() -> None:
    for number in range(470):
        expected = ALLOW if number in seccomp.IO_URING else answer(number)
        assert answer(number, program=WITH_RINGS) == expected, number
    assert sorted(seccomp.IO_URING) == [425, 426, 427]
