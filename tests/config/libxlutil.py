"""Xen's own parser as an oracle: Debian's libxlutil 4.17 through ctypes. It needs no Xen host.

Disks and network cards are read back through libxenlight's own JSON, so that no structure's layout is
assumed here; a buffer that is generously larger than either structure is all that is needed.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterable
from typing import Any

INSTALL = "apt-get install --no-install-recommends libxenmisc4.17"
_ROOM = 16384

OracleValue = str | list["OracleValue"]


class OracleMissing(Exception):
    """The library is not installed: tests fail with this, they don't skip."""


def _library(name: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name, use_errno=True)
    except OSError as error:
        raise OracleMissing(f"{name} is needed to compare with Xen's parser: {INSTALL}") from error


class Oracle:
    """One loaded libxlutil. Texts must not contain NUL: it aborts the process on some."""

    def __init__(self) -> None:
        pointer, string, integer = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
        self._libc = ctypes.CDLL("libc.so.6")
        self._libc.fopen.restype = pointer
        self._libc.free.argtypes = [pointer]
        self._xlu = xlu = _library("libxlutil.so.4.17")
        self._xl = _library("libxenlight.so.4.17")
        xlu.xlu_cfg_init.restype = pointer
        xlu.xlu_cfg_init.argtypes = [pointer, string]
        xlu.xlu_cfg_destroy.argtypes = [pointer]
        xlu.xlu_cfg_readdata.argtypes = [pointer, string, integer]
        xlu.xlu_cfg_get_string.argtypes = [pointer, string, pointer, integer]
        xlu.xlu_cfg_get_long.argtypes = [pointer, string, pointer, integer]
        xlu.xlu_cfg_get_list.argtypes = [pointer, string, pointer, pointer, integer]
        xlu.xlu_cfg_get_listitem2.restype = pointer
        xlu.xlu_cfg_get_listitem2.argtypes = [pointer, integer]
        xlu.xlu_cfg_value_get_string.argtypes = [pointer, pointer, pointer, integer]
        xlu.xlu_cfg_value_get_list.argtypes = [pointer, pointer, pointer, integer]
        xlu.xlu_disk_parse.argtypes = [pointer, integer, pointer, pointer]
        xlu.xlu_vif_parse_rate.argtypes = [pointer, string, pointer]
        for kind in ("disk", "nic"):
            getattr(self._xl, f"libxl_device_{kind}_init").argtypes = [pointer]
            getattr(self._xl, f"libxl_device_{kind}_dispose").argtypes = [pointer]
            to_json = getattr(self._xl, f"libxl_device_{kind}_to_json")
            to_json.restype = pointer
            to_json.argtypes = [pointer, pointer]
        self._silence = self._libc.fopen(b"/dev/null", b"w")

    def values(self, text: str, keys: Iterable[str]) -> dict[str, OracleValue] | None:
        """The values of ``keys`` that are set, or ``None`` if the text is refused."""
        cfg = self._read(text)
        if cfg is None:
            return None
        found = {key: self._value(cfg, key) for key in keys}
        self._xlu.xlu_cfg_destroy(cfg)
        return {key: value for key, value in found.items() if value is not None}

    def number(self, text: str, key: str) -> int | None:
        """What ``xlu_cfg_get_long`` makes of ``key``; ``None`` if the text or the number is refused."""
        cfg = self._read(text)
        if cfg is None:
            return None
        result = ctypes.c_long()
        failed = self._xlu.xlu_cfg_get_long(cfg, key.encode(), ctypes.byref(result), 1)
        self._xlu.xlu_cfg_destroy(cfg)
        return None if failed else result.value

    def disk(self, spec: str) -> dict[str, Any] | None:
        """The disk that ``spec`` describes, in libxl's JSON; ``None`` if it is refused."""
        array = (ctypes.c_char_p * 1)(spec.encode())
        return self._device("disk", lambda cfg, room: self._xlu.xlu_disk_parse(cfg, 1, array, room))

    def rate(self, text: str) -> dict[str, Any] | None:
        """A network card with that ``rate=``, in libxl's JSON; ``None`` if it is refused."""
        ctypes.set_errno(0)
        return self._device("nic", lambda cfg, room: self._xlu.xlu_vif_parse_rate(cfg, text.encode(), room))

    def _device(self, kind: str, parse: Any) -> dict[str, Any] | None:
        room = ctypes.create_string_buffer(_ROOM)
        getattr(self._xl, f"libxl_device_{kind}_init")(room)
        cfg = self._xlu.xlu_cfg_init(self._silence, b"oracle")
        failed = parse(cfg, room)
        found: dict[str, Any] | None = None
        if not failed:
            address = getattr(self._xl, f"libxl_device_{kind}_to_json")(None, room)
            found = json.loads(ctypes.string_at(address))
            self._libc.free(address)
        getattr(self._xl, f"libxl_device_{kind}_dispose")(room)
        self._xlu.xlu_cfg_destroy(cfg)
        return found

    def _read(self, text: str) -> int | None:
        data = text.encode("utf-8", "surrogateescape")
        cfg: int = self._xlu.xlu_cfg_init(self._silence, b"oracle")
        if self._xlu.xlu_cfg_readdata(cfg, data, len(data)):
            self._xlu.xlu_cfg_destroy(cfg)
            return None
        return cfg

    def _value(self, cfg: int, key: str) -> OracleValue | None:
        string = ctypes.c_char_p()
        if not self._xlu.xlu_cfg_get_string(cfg, key.encode(), ctypes.byref(string), 1):
            return _decoded(string)
        items, count = ctypes.c_void_p(), ctypes.c_int()
        if self._xlu.xlu_cfg_get_list(cfg, key.encode(), ctypes.byref(items), ctypes.byref(count), 1):
            return None
        return self._list(cfg, items.value or 0)

    def _list(self, cfg: int, items: int) -> list[OracleValue]:
        found: list[OracleValue] = []
        while value := self._xlu.xlu_cfg_get_listitem2(items, len(found)):
            string, inner = ctypes.c_char_p(), ctypes.c_void_p()
            if not self._xlu.xlu_cfg_value_get_string(cfg, value, ctypes.byref(string), 1):
                found.append(_decoded(string))
            else:
                self._xlu.xlu_cfg_value_get_list(cfg, value, ctypes.byref(inner), 1)
                found.append(self._list(cfg, inner.value or 0))
        return found


def _decoded(string: ctypes.c_char_p) -> str:
    return (string.value or b"").decode("utf-8", "surrogateescape")
