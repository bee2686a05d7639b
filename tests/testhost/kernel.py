"""Debian's ordinary kernel out of its package: the modules that the recipe names, and an initramfs of our own."""

from __future__ import annotations

import fnmatch
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wirt.images import cpio, kmodules

from . import recipe
from .commands import Failed


@dataclass(frozen=True, slots=True)
class Kernel:
    """``modules``: canonical name to (path below /usr, content)."""

    release: str
    image: bytes
    modules: Mapping[str, tuple[str, bytes]]
    indices: Mapping[str, bytes]
    builtin: frozenset[str]

    def files(self) -> dict[str, bytes]:
        """What belongs below /usr."""
        return {**dict(self.modules.values()), **self.indices}

    def load_order(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        order = kmodules.load_order(
            wanted, self.modules, self.builtin, lambda name: kmodules.depends(self.modules[name][1])
        )
        if order.absent:
            raise Failed(
                f"the kernel {self.release} has no {', '.join(order.absent)}", hint="see tests/testhost/recipe.py"
            )
        return order.modules


def unpacked(package: Path) -> Kernel:
    """The kernel of a Debian package, with the modules that the recipe wants and those that they need."""
    files: dict[str, bytes] = {}
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as unpacking:
        assert unpacking.stdout is not None
        with tarfile.open(fileobj=unpacking.stdout, mode="r|") as archive:
            for member in archive:
                path = member.name.removeprefix("./").removeprefix("usr/")
                if member.isreg() and _is_needed(path):
                    content = archive.extractfile(member)
                    assert content is not None
                    files[path] = content.read()
    if unpacking.returncode != 0:
        raise Failed(f"{package.name} can't be unpacked", hint=f"remove {package} and try again")
    return _chosen(files)


def _is_needed(path: str) -> bool:
    return path.endswith(".ko") or path.startswith("boot/vmlinuz-") or "/modules." in path


def _chosen(files: Mapping[str, bytes]) -> Kernel:
    image = next(path for path in files if path.startswith("boot/vmlinuz-"))
    modules = {kmodules.canonical(Path(p).name): (p, content) for p, content in files.items() if p.endswith(".ko")}
    indices = {path: content for path, content in files.items() if "/modules." in path}
    built = next(content for path, content in indices.items() if path.endswith("/modules.builtin")).decode()
    builtin = frozenset(kmodules.canonical(Path(line).name) for line in built.splitlines())
    wanted = [n for n in modules if any(fnmatch.fnmatchcase(n, pattern) for pattern in recipe.MODULES)]
    whole = Kernel(image.removeprefix("boot/vmlinuz-"), files[image], modules, indices, builtin)
    order = whole.load_order((*wanted, *recipe.LOADED))
    return Kernel(whole.release, whole.image, {name: modules[name] for name in order}, indices, builtin)


def initramfs(kernel: Kernel, busybox: bytes) -> bytes:
    """Not compressed: unpacking costs a guest more than reading does."""
    order = kernel.load_order(recipe.FIRST_MODULES)
    entries = [cpio.directory(name) for name in ("bin", "dev", "modules", "proc", "root", "sys")]
    entries += [
        cpio.character_device("dev/console", 5, 1),
        cpio.regular("init", (recipe.GUEST / "init").read_bytes(), 0o755),
        cpio.regular("bin/busybox", busybox, 0o755),
        cpio.regular("modules/order", "".join(f"{name}\n" for name in order).encode()),
    ]
    entries += [cpio.regular(f"modules/{name}.ko", kernel.modules[name][1]) for name in order]
    return cpio.archive(entries)
