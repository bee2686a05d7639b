"""Whole images copied, converted and checked by qemu-img(1), which reaches them and nothing else.

An image is hostile: whoever made it may have found a fault in qemu-img. So each run has a root of its own that
holds the system's programs and libraries and the images of this run, under names of ours; no network, no other
process, bounded memory, and a bound to what it may write. What an image says it stands on is never followed: the
chain is read here, strictly (plan/qcow2.py), and qemu-img is told all of it. Sources: bwrap(1), prlimit(1), QEMU's
docs/interop/qmp-ref (BlockdevOptions).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wirt.model.devices import DiskFormat
from wirt.model.errors import BadInput, NameInUse, Unavailable
from wirt.model.storage import Image, ImageFormat, Volume
from wirt.model.text import plain
from wirt.plan import qcow2
from wirt.ports.files import touch
from wirt.ports.storage import ImageFacts, Progress
from wirt.storage.image_jail import Layer, driver, find_layer, jail, percent, program, protocol, reason
from wirt.storage.programs import Failed, stream
from wirt.storage.settling import settled

INSPECT_S = 30.0
STALLED_S = 300.0
"""A conversion that gets no further for so long is given up: a server or a device has gone."""
MOST_LAYERS = 64
_FORMATS = {"vpc": ImageFormat.VHD, **{each.value: each for each in ImageFormat}}


class QemuImageTool:
    def __init__(self, qemu_img: str = "qemu-img") -> None:
        self._qemu_img = qemu_img

    async def inspect(self, path: str, format_: ImageFormat | DiskFormat | None = None) -> ImageFacts:
        what = f"{path} can't be read as an image"
        layer = await touch(path, find_layer, path, str(format_ or ""), "/in/0")
        node = {"driver": "host_device" if layer.device else "file", "filename": layer.inside}
        if format_ is None:
            words = ["info", "--output=json", layer.inside]
        else:
            image = json.dumps({"driver": driver(format_), "file": node})
            words = ["info", "--output=json", f"json:{image}"]
        try:
            out = await self._run([layer], [], words, what, deadline_s=INSPECT_S)
        except Failed as error:
            raise reason(what, error) from error
        return _facts(out, path)

    async def chain(self, volume: Volume) -> tuple[str, ...]:
        return tuple(layer.path for layer in (await touch(volume.path, chain_of, volume))[1:])

    async def convert(
        self,
        source: Volume | Image,
        target: Volume | Image,
        progress: Progress,
        *,
        bytes_per_s: int | None = None,
    ) -> None:
        what = f"{called(source)} can't be copied to {called(target)}"
        chain = await touch(source.path, chain_of, source)
        into = await touch(target.path, find_layer, target.path, str(target.format), "/out")
        options = f"driver={driver(target.format)},file.driver={protocol(into)},file.filename=/out"
        rate = ["-r", str(bytes_per_s)] if bytes_per_s else []
        words = ["convert", "-p", "-n", *rate, "--target-image-opts", json_of(chain), options]
        size = source.size if isinstance(source, Volume) else (await self.inspect(source.path, source.format)).size
        async with settled(into.path, what):
            try:
                await self._run(chain, [into], words, what, progress=progress, file_bytes=size)
            except Failed as error:
                raise reason(what, error) from error

    async def write(
        self,
        source: Volume | Image,
        target: Image,
        progress: Progress,
        *,
        options: Mapping[str, str] | None = None,
    ) -> None:
        what = f"{called(source)} can't be written to {target.path}"
        chain = await touch(source.path, chain_of, source)
        size = source.size if isinstance(source, Volume) else (await self.inspect(source.path, source.format)).size
        await asyncio.to_thread(_touch, target.path, what)
        try:
            into = Layer(target.path, str(target.format), False, "/out")
            said = [word for name, value in (options or {}).items() for word in ("-o", f"{name}={value}")]
            words = ["convert", "-p", "-O", driver(target.format), *said, json_of(chain), "/out"]
            async with settled(target.path, what):
                await self._run(chain, [into], words, what, progress=progress, file_bytes=size)
            await asyncio.to_thread(_settle_name, target.path)
        except BaseException as error:
            Path(target.path).unlink(missing_ok=True)
            if isinstance(error, Failed):
                raise reason(what, error) from error
            raise

    async def resize(self, volume: Volume, size: int) -> None:
        if volume.format is not DiskFormat.QCOW2:
            return
        what = f"{volume.reference} can't be made {size} bytes large"
        top, *below = await touch(volume.path, chain_of, volume)
        shrink = ["--shrink"] if size < volume.size else []
        words = ["resize", "-q", *shrink, json_of([top, *below]), str(size)]
        try:
            await self._run(below, [top], words, what, file_bytes=max(size, volume.size))
        except Failed as error:
            raise reason(what, error) from error

    async def commit(self, volume: Volume, progress: Progress) -> None:
        what = f"{volume.reference} can't be put into what it stands on"
        top, *chain = await touch(volume.path, chain_of, volume)
        if not chain:
            raise BadInput(f"{what}: it stands on nothing")
        below, *rest = chain
        # -d: top is not emptied, since it is to go. Its data must fit, and so must what it was grown by.
        words = ["commit", "-q", "-p", "-d", json_of([top, below, *rest])]
        try:
            await self._run(rest, [top, below], words, what, progress=progress, file_bytes=volume.size)
        except Failed as error:
            raise reason(what, error) from error

    async def point(self, volume: Volume, below: Volume) -> None:
        what = f"{volume.reference} can't be made to stand on {below.reference}"
        top = await touch(volume.path, find_layer, volume.path, str(volume.format), "/in/0")
        name = Path(below.path).name
        words = ["rebase", "-q", "-u", "-b", name, "-F", str(below.format), json_of([top])]
        try:
            await self._run([], [top], words, what, deadline_s=INSPECT_S)
        except Failed as error:
            raise reason(what, error) from error

    async def check(self, path: str, format_: DiskFormat) -> tuple[str, ...]:
        if format_ not in (DiskFormat.QCOW2, DiskFormat.QED):
            return ()
        what = f"{path} can't be checked"
        layer = await touch(path, find_layer, path, str(format_), "/in/0")
        image = json.dumps(
            {"driver": str(format_), "backing": None, "file": {"driver": protocol(layer), "filename": "/in/0"}}
        )
        words = ["check", "--output=json", f"json:{image}"]
        try:
            await self._run([layer], [], words, what, deadline_s=STALLED_S)
        except Failed as error:
            faults = _faults(error.out)
            if not faults:
                raise reason(what, error) from error
            return faults
        return ()

    async def _run(
        self,
        shown: list[Layer],
        written: list[Layer],
        words: list[str],
        what: str,
        *,
        progress: Progress | None = None,
        file_bytes: int = 0,
        deadline_s: float = STALLED_S,
    ) -> str:
        argv = (*jail(shown, written, file_bytes), program(self._qemu_img, what), *words)
        return await stream(*argv, what=what, stalled_s=deadline_s, listener=percent(progress))


def chain_of(source: Volume | Image) -> list[Layer]:
    """Topmost first. Only a volume's is followed: whoever hands in an image may name any file in it."""
    path, format_ = source.path, str(source.format)
    layers: list[Layer] = []
    while True:
        if len(layers) == MOST_LAYERS:
            raise BadInput(f"{source.path} stands on more than {MOST_LAYERS} images; does one stand on itself?")
        layers.append(find_layer(path, format_, f"/in/{len(layers)}"))
        if format_ != DiskFormat.QCOW2:
            return layers
        with open(path, "rb") as file:  # noqa: PTH123 (a path from an image may be relative to another)
            backing = qcow2.parse(file.read(qcow2.HEADER_BYTES), path).backing
        if backing is None:
            return layers
        if isinstance(source, Image):
            raise BadInput(
                f"{path} stands on {plain(backing[0])}, which is not looked for",
                hint="make it one file first: qemu-img convert -O qcow2 IMAGE NEW",
            )
        path, format_ = os.path.normpath(Path(path).parent / backing[0]), str(backing[1])


def json_of(chain: list[Layer]) -> str:
    below: dict[str, Any] | None = None
    for layer in reversed(chain):
        node: dict[str, Any] = {
            "driver": driver(layer.format),
            "file": {"driver": protocol(layer), "filename": layer.inside},
        }
        if layer.format in (DiskFormat.QCOW2, DiskFormat.QED, DiskFormat.QCOW, ImageFormat.VMDK):
            node["backing"] = below
        below = node
    return f"json:{json.dumps(below)}"


def called(image: Volume | Image) -> str:
    return image.reference if isinstance(image, Volume) else image.path


def _facts(out: str, path: str) -> ImageFacts:
    try:
        said = json.loads(out)
        return ImageFacts(
            format=_FORMATS[said["format"]],
            size=int(said["virtual-size"]),
            allocated=int(said.get("actual-size", 0)),
            backing=said.get("backing-filename"),
            dirty=bool(said.get("dirty-flag", False)),
        )
    except KeyError as error:
        raise BadInput(f"{path} is an image of a kind that wirt does not read: {error}") from error
    except (ValueError, TypeError) as error:
        raise BadInput(f"{path} is described in a way that can't be understood") from error


def _faults(out: str) -> tuple[str, ...]:
    """What check counted; it exits with 2 or 3 when there is something (qemu-img(1))."""
    try:
        said = json.loads(out)
    except ValueError:
        return ()
    words = {
        "corruptions": "corrupt clusters",
        "leaks": "leaked clusters",
        "check-errors": "errors of the check",
    }
    return tuple(f"{said[key]} {word}" for key, word in words.items() if said.get(key))


def _touch(path: str, what: str) -> None:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise NameInUse(f"{what}: there is a file of that name", hint="choose another name") from None
    except OSError as error:
        raise Unavailable(f"{what}: {error.strerror}") from error


def _settle_name(path: str) -> None:
    with contextlib.suppress(OSError):
        directory = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
