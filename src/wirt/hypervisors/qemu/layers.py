"""What a disk image stands on: the chain of its backing files, read from qcow2 headers (QEMU,
docs/interop/qcow2.txt).

A header comes from whoever made the image, and what it names is opened by the daemon. So it is read strictly, and
only when the configuration says that the image is qcow2: a raw disk's first bytes are the guest's to write.
Nothing is guessed: a backing file of unsaid format is refused.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput
from wirt.plan import qcow2
from wirt.plan.jail import Layer
from wirt.plan.launch import DiskPlan

MOST_LAYERS = 64


def chain(path: str, format_: DiskFormat) -> tuple[Layer, ...]:
    """``path`` and all below it. ``BadInput`` says which image is wrong, and how; one that can't be read is left
    for the launch to tell of."""
    layers: list[Layer] = []
    here: tuple[str, DiskFormat] | None = (path, format_)
    while here is not None:
        if len(layers) == MOST_LAYERS:
            raise BadInput(f"{path} stands on more than {MOST_LAYERS} images; does one stand on itself?")
        layer, here = _read(Path(here[0]), here[1])
        layers.append(layer)
    return tuple(layers)


def backing(disks: Iterable[DiskPlan]) -> dict[str, tuple[str, ...]]:
    """What each qcow2 image stands on, all by their real paths."""
    images = [disk for disk in disks if disk.format is DiskFormat.QCOW2]
    chains = {disk.path: chain(disk.path, disk.format) for disk in images if disk.path is not None}
    return {
        os.path.realpath(path): tuple(os.path.realpath(layer.path) for layer in layers[1:])
        for path, layers in chains.items()
    }


def _read(path: Path, format_: DiskFormat) -> tuple[Layer, tuple[str, DiskFormat] | None]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return Layer(str(path), format_), None
    try:
        device = stat.S_ISBLK(os.fstat(descriptor).st_mode)
        size = os.lseek(descriptor, 0, os.SEEK_END)
        if format_ is not DiskFormat.QCOW2:
            return Layer(str(path), format_, device, size, size), None
        header = os.pread(descriptor, qcow2.HEADER_BYTES, 0)
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
    said = qcow2.parse(header, str(path))
    below = (str(path.parent / said.backing[0]), said.backing[1]) if said.backing is not None else None
    return Layer(str(path), format_, device, said.size, size), below
