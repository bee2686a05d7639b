"""The layers port in memory: what was written into an image goes through the very stream."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wirt.model.errors import ImageChanged, NotFound, Unavailable, WirtError
from wirt.ports.clock import Clock
from wirt.ports.layers import Content
from wirt.ports.migration import Channel
from wirt.ports.storage import Progress
from wirt.storage.fake import FakeMedium

_END, _DONE = b"\n", b"\x01"
_TURNS = 4
_LOOK_S = 0.005


class FakeLayerFiles:
    """Of the pools of one host. ``failures`` are raised by the next calls that receive, one each. ``received``:
    the paths of what came. ``files``: of those that are no images in pools, what they hold."""

    def __init__(self, media: Mapping[str, FakeMedium], clock: Clock) -> None:
        self._media = media
        self._clock = clock
        self.failures: list[WirtError] = []
        self.received: list[str] = []
        self.files: dict[str, bytes] = {}

    async def length(self, path: str) -> int:
        return (await self.content(path)).length

    async def content(self, path: str) -> Content:
        return _content(self._data(path))

    async def send(
        self, path: str, wanted: Content, channel: Channel, progress: Progress, *, bytes_per_s: int | None = None
    ) -> int:
        with contextlib.closing(channel.stream) as stream:
            data = self._data(path)
            for turn in range(_TURNS):
                progress(turn / _TURNS)
                await self._clock.sleep(0.01)
            if _content(data) != wanted or _content(self._data(path)) != wanted:
                raise ImageChanged(f"{path} has changed while it was read")
            _put(stream, data + _END)
            await self._get(stream, _DONE)
            progress(1.0)
            return len(data)

    async def receive(self, path: str, wanted: Content, channel: Channel) -> None:
        with contextlib.closing(channel.stream) as stream:
            data = (await self._get(stream, _END)).removesuffix(_END)
            if self.failures:
                raise self.failures.pop(0)
            if _content(data) != wanted:
                raise ImageChanged(f"what came for {path} is not what was to come")
            self._write(path, data)
            self.received.append(path)
            _put(stream, _DONE)

    def _data(self, path: str) -> bytes:
        if path in self.files:
            return self.files[path].hex().encode()
        """With the name of what it stands on, which is in the image too."""
        medium = self._medium(path)
        (volume,) = (each for each in medium.volumes.values() if each.path == path)
        said = {"backing": volume.backing, "data": medium.data.get(path, {})}
        return json.dumps(said, sort_keys=True).encode()

    def _write(self, path: str, data: bytes) -> None:
        if path in self.files:
            self.files[path] = bytes.fromhex(data.decode())
            return
        said: dict[str, Any] = json.loads(data)
        medium = self._medium(path)
        medium.data[path] = said["data"]
        for name, volume in medium.volumes.items():
            if volume.path == path:
                medium.volumes[name] = replace(volume, backing=said["backing"])

    def _medium(self, path: str) -> FakeMedium:
        for medium in self._media.values():
            if any(volume.path == path for volume in medium.volumes.values()):
                return medium
        raise NotFound(f"{path} is gone")

    async def _get(self, stream: socket.socket, end: bytes) -> bytes:
        stream.setblocking(False)
        data = b""
        while not data.endswith(end):
            try:
                more = stream.recv(65536)
            except BlockingIOError:
                await self._clock.sleep(_LOOK_S)
                continue
            except OSError as error:
                raise Unavailable(f"the stream of a disk's layer was cut: {error.strerror}") from error
            if not more:
                raise Unavailable("the stream of a disk's layer was cut")
            data += more
        return data


def _content(data: bytes) -> Content:
    return Content(max(1, len(data)), hashlib.sha256(data).hexdigest())


def _put(stream: socket.socket, data: bytes) -> None:
    try:
        stream.setblocking(True)
        stream.sendall(data)
    except OSError as error:
        raise Unavailable(f"the stream of a disk's layer was cut: {error.strerror}") from error
