"""Which modules load, and in which order."""

from __future__ import annotations

import struct

import pytest

from wirt.images.kmodules import LoadOrder, canonical, depends, load_order

NEEDS = {
    "net": ("failover", "core"),
    "failover": ("core",),
    "core": ("ring",),
    "ring": (),
    "disk": ("core",),
    "lost": ("nowhere",),
    "a": ("b",),
    "b": ("a",),
}


def order(*wanted: str, builtin: tuple[str, ...] = ()) -> LoadOrder:
    return load_order(wanted, NEEDS, builtin, lambda name: NEEDS[name])


def elf_with_modinfo(modinfo: bytes) -> bytes:
    """The smallest ELF file that has a section `.modinfo`."""
    names = b"\0.modinfo\0"
    header = bytearray(64)
    header[:6] = b"\x7fELF\x02\x01"
    info_at, names_at = 64, 64 + len(modinfo)
    table_at = names_at + len(names)
    struct.pack_into("<Q", header, 0x28, table_at)
    struct.pack_into("<HHH", header, 0x3A, 64, 3, 2)

    def section(name: int, offset: int, size: int) -> bytes:
        return struct.pack("<IIQQQQ", name, 1, 0, 0, offset, size).ljust(64, b"\0")

    sections = section(0, 0, 0) + section(1, info_at, len(modinfo)) + section(0, names_at, len(names))
    return bytes(header) + modinfo + names + sections


def test_what_is_needed_loads_first_and_once() -> None:
    assert order("net", "disk").modules == ("ring", "core", "failover", "net", "disk")


def test_what_the_kernel_lacks_is_named() -> None:
    assert order("e1000", "disk") == LoadOrder(("ring", "core", "disk"), ("e1000",))


def test_what_is_built_in_is_neither_loaded_nor_absent() -> None:
    assert order("disk", "nvme", builtin=("core", "nvme")) == LoadOrder(("disk",), ())


def test_a_need_that_is_nowhere_is_an_error() -> None:
    with pytest.raises(ValueError, match="lost needs nowhere"):
        order("lost")


def test_a_circle_is_an_error() -> None:
    with pytest.raises(ValueError, match="a b a"):
        order("a")


def test_needs_are_read_from_the_module_itself() -> None:
    module = elf_with_modinfo(b"license=GPL\0depends=virtio,net-failover\0name=x\0")
    assert depends(module) == ("virtio", "net_failover")


def test_a_module_without_needs_has_none() -> None:
    assert depends(elf_with_modinfo(b"depends=\0license=GPL\0")) == ()


@pytest.mark.parametrize("content", [b"", b"\xfd7zXZ\0 compressed", b"\x7fELF\x01\x01"])
def test_what_is_no_module_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="ELF"):
        depends(content)


def test_dash_and_underscore_are_one_name() -> None:
    assert canonical("virtio-rng.ko") == canonical("virtio_rng") == "virtio_rng"
