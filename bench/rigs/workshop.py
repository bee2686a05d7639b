"""A directory of its own and all that is started in it: when it is left, nothing of either remains."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bench.rigs.absence import NotHere
from bench.rigs.processes import kill_guests
from wirt.images.tiny import TinyImage, build_tiny, find_tiny
from wirt.model.errors import ImageBuildFailed

if TYPE_CHECKING:
    from bench.rigs.libvirt import Libvirt

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


class Workshop:
    """Shared by all figures of one ``python -m bench``."""

    def __init__(self) -> None:
        self.accelerator: str | None = None
        """As wirtd found it, once one with real guests has run."""
        self._stack = contextlib.ExitStack()
        self._numbers = itertools.count(1)
        self._tiny: TinyImage | None = None
        self._libvirt: Libvirt | NotHere | None = None

    def __enter__(self) -> Self:
        # Short: a unix socket's path has room for 107 bytes. Others may pass: libvirt's guests aren't root's.
        self.directory = Path(tempfile.mkdtemp(prefix="wirt-bench-"))
        self.directory.chmod(0o711)
        self._stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self._stack.callback(kill_guests, self.directory)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def folder(self, what: str) -> Path:
        """A new one, private."""
        path = self.directory / f"{what}-{next(self._numbers)}"
        path.mkdir(mode=0o700)
        return path

    @property
    def environment(self) -> dict[str, str]:
        """For contenders: nothing of the caller's wirt or Python gets through, and no daemon starts unasked."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("WIRT_", "PYTHON", "LIBVIRT_", "VIRSH_"))}
        return {**kept, "LC_ALL": "C.UTF-8", "WIRT_NO_AUTOSTART": "1"}

    @property
    def tiny(self) -> TinyImage:
        """The tiny guest, copied to where every user may read it. ``NotHere`` if it can't be built."""
        if self._tiny is None:
            built = _find_or_build()
            place = self.directory / "tiny"
            place.mkdir(mode=0o755)
            for source in (built.kernel, built.initramfs, built.disk):
                shutil.copyfile(source, place / source.name)
                (place / source.name).chmod(0o644)
            self._tiny = TinyImage(
                place / built.kernel.name, place / built.initramfs.name, place / built.disk.name, built.fingerprint
            )
        return self._tiny

    @property
    def libvirt(self) -> Libvirt:
        """Debian's libvirt, started when first asked for. ``NotHere``, each time, if it can't be had."""
        if self._libvirt is None:
            from bench.rigs.libvirt import started

            try:
                self._libvirt = self._stack.enter_context(started(self))
            except NotHere as missing:
                self._libvirt = missing
        if isinstance(self._libvirt, NotHere):
            raise self._libvirt
        return self._libvirt


def _find_or_build() -> TinyImage:
    cache = ROOT / ".cache"
    found = find_tiny(cache / "tiny")
    if found is not None:
        return found
    sys.stderr.write("bench: building the tiny guest (a minute, once) ...\n")
    try:
        return asyncio.run(build_tiny(cache / "tiny", cache / "packages", lambda what, share: None))
    except ImageBuildFailed as error:
        raise NotHere(f"the tiny guest is missing and can't be built: {error}") from error
