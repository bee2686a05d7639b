"""One entry of ``disk``: ``target,format,vdev,access`` by position or by name (xl-disk-configuration(5)).

Parameters are separated by commas. One with an equals sign, and a known flag, is itself; any other fills the
next free position, and an empty one leaves its position at the default. ``target=`` takes the whole rest.
The prefixes of xend (``phy:``, ``tap:aio:``, ``qcow2:``) are read with a remark; after one there is no
position for the format. ``pool:`` is none of them but a part of the target: ``pool:POOL/VOLUME``.

Beyond xl, wirt reads how the disk is to be served, which it chooses by itself otherwise: ``cache=``, ``aio=``,
``detect-zeroes=``, ``iothread=`` and ``queues=`` (``model/engine.py`` says what the words mean); and how much may
be asked of it (``diskqos.py``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import PurePosixPath
from typing import TypeVar

from wirt.config.xlcfg import diskqos
from wirt.config.xlcfg.spec import Part, Remark, SpecError, part_at
from wirt.config.xlcfg.vdev import parse_vdev
from wirt.model.devices import VOLUME_PREFIX, DiskBackend, DiskFormat, DiskSpec
from wirt.model.diskqos import DiskQos
from wirt.model.engine import MOST_QUEUES, Aio, CacheMode, DetectZeroes, IoThread
from wirt.model.errors import BadInput
from wirt.model.storage import VolumeRef

_ACCESS = {"": True, "rw": True, "w": True, "ro": False, "r": False}
_FORMATS = {"": DiskFormat.RAW, **{each.value: each for each in DiskFormat}}
_PREFIX = re.compile(r"([a-z][a-z0-9]*):")
_FORMAT_PREFIXES = {"raw", "qcow", "qcow2", "vhd"}
_SCRIPT_PREFIXES = {"iscsi", "nbd", "enbd", "drbd"}
_IGNORED_PREFIXES = {"tapdisk", "tap", "tap2", "aio", "ioemu", "file", "phy"}
_PREFIXES = _FORMAT_PREFIXES | _SCRIPT_PREFIXES | _IGNORED_PREFIXES
# These may be said again, with the same value.
_REPEATABLE = {"backendtype", "specification", "transport", "colo-port"}
_COLO = ("colo-host", "colo-port", "colo-export", "active-disk", "hidden-disk")
_ENGINE = ("cache", "aio", "detect-zeroes", "iothread", "queues")
_NAMED = (
    "format",
    "vdev",
    "access",
    "devtype",
    "backend",
    "backendtype",
    "script",
    "specification",
    "transport",
    "grant_usage",
    "target",
    *_ENGINE,
    *diskqos.WORDS,
    *_COLO,
)
_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)

_URL = re.compile(r"[a-z][a-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class ParsedDisk:
    """What an entry means; ``spec`` is the entry again, with its target made absolute."""

    disk: DiskSpec
    spec: str
    remarks: tuple[Remark, ...]


def parse_disk(spec: str, cwd: PurePosixPath, pools: frozenset[str] = frozenset()) -> ParsedDisk:
    """The disk that ``spec`` describes; a relative target is taken from ``cwd`` (absolute), unless its first part
    is one of ``pools``: then it names a volume, as ``pool:`` before a target always does.

    Raises :class:`SpecError` for anything that the manual page does not allow.
    """
    newline = spec.find("\n")
    if newline >= 0:
        raise SpecError(newline, "a disk specification has no line breaks")
    reader = _Reader(spec)
    reader.read()
    return reader.finish(cwd, pools)


@dataclass(slots=True)
class _Reader:
    """Collects parameters; each may be given once, though repeating an equal or overriding an empty one is
    fine."""

    spec: str
    target: str | None = None
    target_at: int = 0
    target_named: bool = False
    format: DiskFormat | None = None
    format_given: bool = False
    vdev: str | None = None
    vdev_at: int = 0
    access: bool = True
    access_positional: bool = False
    cdrom: bool = False
    prefixes: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    flags: dict[str, bool] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)

    def read(self) -> None:
        offset = 0
        while offset < len(self.spec):
            part, after = part_at(self.spec, offset)
            prefix = _PREFIX.match(part.text)
            if part.name == "target":
                self._set_target(self.spec[part.value_offset :], part.value_offset, named=True)
                return
            if prefix and self._is_prefix(prefix[1], part, prefix.end()):
                self._prefix(prefix[1], part.offset)
                offset = part.offset + prefix.end()
                continue
            self._part(part, last=after > len(self.spec))
            offset = after

    def _is_prefix(self, word: str, part: Part, length: int) -> bool:
        """Known prefixes always are; an unknown word before ``:`` and a path is a mistyped one."""
        if word in _PREFIXES:
            return True
        if f"{word}:" == VOLUME_PREFIX and self.target is None:
            return False
        rest = self.spec[part.offset + length :][:1]
        if not re.match("[a-z0-9]", rest) and part.name is None:
            known = ", ".join(f"{each}:" for each in sorted(_PREFIXES))
            hint = f"prefixes are {known}; a target with a colon needs target= at the end"
            raise SpecError(part.offset, f"{word}: is no known prefix of a disk", hint=hint)
        return False

    def _prefix(self, word: str, offset: int) -> None:
        self.prefixes.append(word)
        if word in _FORMAT_PREFIXES:
            self._set_format(word, offset)
            self.remarks.append(Remark(offset, f"the prefix {word}: is deprecated: write format={word}"))
        elif word in _SCRIPT_PREFIXES:
            self._set_text("script", f"block-{word}", offset)
            self.remarks.append(Remark(offset, f"the prefix {word}: is deprecated: write script=block-{word}"))
        else:
            self.remarks.append(Remark(offset, f"the prefix {word}: is deprecated and means nothing"))

    def _part(self, part: Part, *, last: bool) -> None:
        if part.name is not None:
            self._named(part)
        elif part.text in _FLAGS:
            _FLAGS[part.text](self)
        elif part.text or not last:
            self._positional(part)

    def _named(self, part: Part) -> None:
        name, value, at = part.name, part.value, part.value_offset
        if name == "format":
            self._set_format(value, at)
        elif name == "vdev":
            self._set_vdev(value, at)
        elif name == "access":
            self._set_access(value, at)
        elif name == "devtype":
            self._set_devtype(value, at)
        elif name == "grant_usage":
            self.flags["grant_usage"] = _pick({"0": False, "1": True}, value, at, "grant_usage")
        elif name in _NAMED:
            self._set_text(str(name), value, at)
        else:
            hint = f"known are {', '.join(_NAMED)}; a target with = or , needs target= at the end"
            raise SpecError(part.offset, f"{name}= is no parameter of a disk", hint=hint)

    def _positional(self, part: Part) -> None:
        text, at = part.text, part.offset
        if self.target is None:
            self._set_target(text, at, named=False)
        elif not self.prefixes and self.format is None:
            if not self.target and ":" in text:
                self._set_vdev_and_devtype(text, at)
                self.format = DiskFormat.EMPTY
            else:
                self._set_format(text, at)
        elif self.vdev is None:
            self._set_vdev_and_devtype(text, at)
        elif not self.access_positional:
            self.access_positional = True
            self._set_access(text, at)
        else:
            hint = "the positions are target, format, vdev and access"
            raise SpecError(at, f"{text or 'an empty parameter'} has no position left", hint=hint)

    def _set_target(self, text: str, at: int, *, named: bool) -> None:
        if self.target:
            raise SpecError(at, "the target is given twice")
        self.target, self.target_at, self.target_named = text, at, named

    def _set_format(self, text: str, at: int) -> None:
        new = _pick(_FORMATS, text, at, "format")
        if self.format not in (None, new):
            raise SpecError(at, f"the format is {self.format} already")
        self.format = new
        self.format_given = self.format_given or bool(text)

    def _set_vdev_and_devtype(self, text: str, at: int) -> None:
        name, colon, devtype = text.rpartition(":")
        if not colon:
            self._set_vdev(text, at)
            return
        self._set_vdev(name, at)
        devtype_at = at + len(name) + 1
        self._set_devtype(devtype, devtype_at)
        self.remarks.append(Remark(devtype_at, f":{devtype} is deprecated: write devtype={devtype}"))

    def _set_vdev(self, text: str, at: int) -> None:
        if self.vdev:
            raise SpecError(at, f"the vdev is {self.vdev} already")
        self.vdev, self.vdev_at = text, at

    def _set_access(self, text: str, at: int) -> None:
        self.access = _pick(_ACCESS, text, at, "access")

    def _set_devtype(self, text: str, at: int) -> None:
        self.cdrom = _pick({"cdrom": True, "disk": False}, text, at, "devtype")

    def _set_text(self, name: str, value: str, at: int) -> None:
        before = self.texts.get(name)
        if before and (name not in _REPEATABLE or before != value):
            raise SpecError(at, f"{name} is {before} already")
        if name == "colo-port" and not re.fullmatch("0*[1-9][0-9]{0,4}", value):
            raise SpecError(at, "colo-port is a port number")
        if name == "queues" and not (re.fullmatch("[0-9]{1,4}", value) and 1 <= int(value) <= MOST_QUEUES):
            raise SpecError(at, f"queues= is a number from 1 to {MOST_QUEUES}, not {value or 'empty'}")
        if name in _CHOICES:
            _pick({each: each for each in _CHOICES[name]}, value, at, name)
        self.texts[name] = value
        self.places[name] = at

    def finish(self, cwd: PurePosixPath, pools: frozenset[str] = frozenset()) -> ParsedDisk:
        """Defaults, and what must not be missing."""
        if not self.vdev:
            hint = "as in /srv/web.img,raw,xvda,rw or target=..., vdev=xvda"
            raise SpecError(0, "the disk has no vdev, its name in the guest", hint=hint)
        if parse_vdev(self.vdev) is None:
            hint = "names are xvda, sda, hda to hdd, vda, d0p0, or a number"
            raise SpecError(self.vdev_at, f"{self.vdev} is no vdev", hint=hint)
        self._check_empty()
        self._check_engine()
        qos = self._qos()
        target, spec = self._absolute(cwd, pools)
        format_ = DiskFormat.EMPTY if not target else self.format or DiskFormat.RAW
        disk = replace(self._disk(target or None, format_), qos=qos)
        return ParsedDisk(disk, spec, tuple(self.remarks))

    def _check_empty(self) -> None:
        if self.cdrom:
            if self.target and self.format is DiskFormat.EMPTY:
                raise SpecError(self.target_at, "the format is empty, but there is a target")
        elif not self.target:
            raise SpecError(0, "the disk has no target, and only a cdrom can be empty")
        elif self.format is DiskFormat.EMPTY:
            raise SpecError(0, "the format is empty, which only a cdrom can be")

    def _check_engine(self) -> None:
        """Wishes that contradict each other; whether the host can fulfil them is the plan's business."""
        cache, aio = self.texts.get("cache"), self.texts.get("aio")
        if aio == Aio.NATIVE and cache is not None and not CacheMode(cache).direct:
            hint = "write cache=none or cache=directsync, or leave one of them out"
            raise SpecError(self.places["aio"], f"aio=native contradicts cache={cache}", hint=hint)
        if self.texts.get("detect-zeroes") == DetectZeroes.UNMAP and not self.flags.get("discard", True):
            hint = "write detect-zeroes=on, which gives no room back"
            raise SpecError(self.places["detect-zeroes"], "detect-zeroes=unmap contradicts no-discard", hint=hint)

    def _absolute(self, cwd: PurePosixPath, pools: frozenset[str]) -> tuple[str, str]:
        """The target as an absolute path or as a volume, and the specification that says so."""
        target = self.target or ""
        if not target or target.startswith("/") or self.texts.get("script") or _URL.match(target):
            return target, self.spec
        if target.startswith(VOLUME_PREFIX) and "/" in target:
            return self._volume(target), self.spec
        if not self.prefixes and "/" in target and target.partition("/")[0] in pools:
            return self._said(self._volume(target))
        base = PurePosixPath("/dev") if self.prefixes[-1:] == ["phy"] else cwd
        return self._said(str(base / target))

    def _volume(self, target: str) -> str:
        try:
            return VolumeRef.parse(target).stored
        except BadInput as error:
            raise SpecError(self.target_at, error.message, hint=error.hint) from None

    def _said(self, absolute: str) -> tuple[str, str]:
        """``absolute``, and the specification with it in the target's place."""
        before = self.spec[: self.target_at]
        after = self.spec[self.target_at + len(self.target or "") :]
        if self.target_named or not set(absolute) & set(",="):
            return absolute, before + absolute + after
        # A name with metacharacters can only stand at the end; the position it leaves stays empty.
        comma = "" if after.endswith(",") else ","
        return absolute, f"{before}{after}{comma}target={absolute}"

    def _disk(self, target: str | None, format_: DiskFormat) -> DiskSpec:
        backend_type = self.texts.get("backendtype")
        colo = [(name, self.texts[name]) for name in _COLO if name in self.texts]
        if "colo" in self.flags:
            colo.insert(0, ("colo", "1" if self.flags["colo"] else "0"))
        return DiskSpec(
            vdev=self.vdev or "",
            target=target,
            format=format_,
            writable=self.access and not self.cdrom,
            cdrom=self.cdrom,
            backend=self.texts.get("backend") or "0",
            backend_type=DiskBackend(backend_type) if backend_type else None,
            script=self.texts.get("script") or None,
            removable=self.cdrom,
            direct_io_safe=self.flags.get("direct-io-safe", False),
            discard=self.flags.get("discard", True),
            trusted=self.flags.get("trusted", True),
            grant_usage=self.flags.get("grant_usage"),
            colo=tuple(colo),
            specification=self.texts.get("specification") or None,
            transport=self.texts.get("transport") or None,
            format_given=self.format_given,
            discard_given="discard" in self.flags,
            cache=_wish(CacheMode, self.texts.get("cache")),
            aio=_wish(Aio, self.texts.get("aio")),
            detect_zeroes=_wish(DetectZeroes, self.texts.get("detect-zeroes")),
            iothread=_wish(IoThread, self.texts.get("iothread")),
            queues=int(self.texts["queues"]) if "queues" in self.texts else None,
        )

    def _qos(self) -> DiskQos:
        words = {name: self.texts[name] for name in diskqos.WORDS if name in self.texts}
        if words and self.cdrom:
            raise SpecError(self.places[next(iter(words))], "a cdrom has no limits")
        try:
            return diskqos.read_words(words)
        except BadInput as error:
            named = [name for name in words if name in error.message]
            at = self.places[max(named or words, key=len)]
            raise SpecError(at, error.message, hint=error.hint) from None


def _set_cdrom(reader: _Reader) -> None:
    reader.cdrom = True


def _flag(name: str, value: bool) -> Callable[[_Reader], None]:
    def set_flag(reader: _Reader) -> None:
        reader.flags[name] = value

    return set_flag


_FLAGS: dict[str, Callable[[_Reader], None]] = {
    "cdrom": _set_cdrom,
    "direct-io-safe": _flag("direct-io-safe", True),
    "discard": _flag("discard", True),
    "no-discard": _flag("discard", False),
    "colo": _flag("colo", True),
    "no-colo": _flag("colo", False),
    "trusted": _flag("trusted", True),
    "untrusted": _flag("trusted", False),
}
_CHOICES = {
    "backendtype": tuple(each.value for each in DiskBackend),
    "specification": ("xen", "virtio"),
    "transport": ("mmio", "pci"),
    "cache": tuple(each.value for each in CacheMode),
    "aio": tuple(each.value for each in Aio),
    "detect-zeroes": tuple(each.value for each in DetectZeroes),
    "iothread": tuple(each.value for each in IoThread),
}


def _wish(kind: type[_E], text: str | None) -> _E | None:
    return None if text is None else kind(text)


def _pick(choices: Mapping[str, _T], text: str, at: int, what: str) -> _T:
    """The choice that ``text`` names; the empty string is one only if ``choices`` has it."""
    if text not in choices:
        known = ", ".join(each for each in choices if each)
        raise SpecError(at, f"{what} is one of {known}, not {text or 'empty'}")
    return choices[text]
