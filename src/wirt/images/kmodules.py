"""Which kernel modules must be loaded, in which order, to have the ones that are wanted.

What a module depends on is read from the module itself (`depends=` in its ELF section `.modinfo`): a kernel
package brings no `modules.dep`, which `depmod` makes at installation.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """`modules` in the order in which they can be loaded; `absent` are wanted ones that the kernel lacks."""

    modules: tuple[str, ...]
    absent: tuple[str, ...]


def canonical(name: str) -> str:
    """A module's name as the kernel spells it: `virtio-rng.ko` and `virtio_rng` are one."""
    return name.removesuffix(".ko").replace("-", "_")


def depends(module: bytes) -> tuple[str, ...]:
    """Canonical names of what an uncompressed module needs loaded before it.

    Raises `ValueError` when `module` is not a 64-bit little-endian ELF file with `.modinfo`.
    """
    for item in _modinfo(module).split(b"\0"):
        key, _, value = item.partition(b"=")
        if key == b"depends":
            return tuple(canonical(name) for name in value.decode().split(",") if name)
    return ()


def _modinfo(module: bytes) -> bytes:
    """The section `.modinfo`; field offsets are those of Elf64_Ehdr and Elf64_Shdr (elf(5))."""
    if module[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    (table,) = struct.unpack_from("<Q", module, 0x28)
    size, count, names_index = struct.unpack_from("<HHH", module, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", module, table + size * i) for i in range(count)]
    names_at = sections[names_index][4]
    for name, _, _, _, offset, length in sections:
        at = names_at + name
        if module[at : module.index(b"\0", at)] == b".modinfo":
            return module[offset : offset + length]
    raise ValueError("no .modinfo section")


def load_order(
    wanted: Iterable[str],
    available: Iterable[str],
    builtin: Iterable[str],
    depends_of: Callable[[str], tuple[str, ...]],
) -> LoadOrder:
    """The order for `wanted` and all that they need, each after what it needs, otherwise as wanted.

    What is `builtin` needs no loading. A module whose own need is neither available nor built in is a
    `ValueError`: the kernel's package would be broken. All names are canonical.
    """
    present, built = set(available), set(builtin)
    order: list[str] = []
    absent: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in order or name in built:
            return
        if name in path:
            raise ValueError(f"modules need each other in a circle: {' '.join((*path, name))}")
        if name not in present:
            raise ValueError(f"{path[-1]} needs {name}, which the kernel lacks")
        for need in depends_of(name):
            visit(need, (*path, name))
        order.append(name)

    for name in wanted:
        if name in present or name in built:
            visit(name, ())
        else:
            absent.append(name)
    return LoadOrder(tuple(order), tuple(absent))
