"""An archive of our own: the descriptor first, then the manifest, then the disks (DSP0243, "Distribution"), in
ustar format with nothing of this host in it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from wirt.config.ovf import manifest
from wirt.model.errors import NameInUse, NotFound, Shortage, Unavailable
from wirt.ports.appliances import Packed
from wirt.ports.storage import Progress

_PART_BYTES = 16 * 1024 * 1024
_PART = "archive.part"


def measure(path: str) -> Packed:
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Packed(Path(path).name, path, os.fstat(file.fileno()).st_size, digest)


def room(path: str) -> int:
    folder = Path(path).parent
    try:
        facts = os.statvfs(folder)
    except OSError as error:
        raise NotFound(f"there is no directory {folder}", hint=f"mkdir -p {folder}") from error
    return facts.f_bavail * facts.f_frsize


def make_scratch(path: str) -> None:
    discard(path)
    try:
        Path(path).mkdir(mode=0o700)
    except OSError as error:
        raise Unavailable(f"{path} can't be made: {error.strerror}") from error


def discard(path: str) -> None:
    place = Path(path)
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


async def pack(
    path: str, descriptor: tuple[str, str], files: Sequence[Packed], scratch: str, progress: Progress
) -> None:
    """Written in ``scratch``, and only when it is whole under its own name."""
    writing = _write(Path(path), descriptor, files, Path(scratch) / _PART)
    while (share := await asyncio.to_thread(next, writing, None)) is not None:
        progress(share)


def _write(path: Path, descriptor: tuple[str, str], files: Sequence[Packed], part: Path) -> Iterator[float]:
    """Yields the share that is done, again and again."""
    name, text = descriptor
    digests = {name: hashlib.sha256(text.encode()).hexdigest()} | {each.name: each.digest for each in files}
    texts = [(name, text), (str(Path(name).with_suffix(".mf")), manifest.write(digests))]
    try:
        with part.open("wb") as out:
            for each, words in texts:
                _put(out, each, len(words.encode()), io.BytesIO(words.encode()))
            total, done = sum(each.size for each in files) or 1, 0
            for file in files:
                with Path(file.path).open("rb") as source:
                    out.write(member_header(file.name, file.size))
                    while data := source.read(_PART_BYTES):
                        out.write(data)
                        done += len(data)
                        yield done / total
                    out.write(bytes(-file.size % tarfile.BLOCKSIZE))
            out.write(bytes(2 * tarfile.BLOCKSIZE))
            out.flush()
            os.fsync(out.fileno())
        _settle(part, path)
    except FileExistsError as error:
        raise NameInUse(f"there is a file {path} already", hint="choose another name") from error
    except OSError as error:
        kind = Shortage if error.errno == errno.ENOSPC else Unavailable
        raise kind(f"{path} can't be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _put(out: IO[bytes], name: str, size: int, source: IO[bytes]) -> None:
    out.write(member_header(name, size))
    shutil.copyfileobj(source, out)
    out.write(bytes(-size % tarfile.BLOCKSIZE))


def member_header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    try:
        return member.tobuf(tarfile.USTAR_FORMAT)
    except ValueError:  # more than 8 GiB: as GNU tar writes them
        return member.tobuf(tarfile.GNU_FORMAT)


def _settle(part: Path, path: Path) -> None:
    """A link fails where a file of that name is, which a rename would not."""
    os.link(part, path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
