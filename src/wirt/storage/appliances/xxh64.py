"""XXH64, by which newer exports of XCP-ng vouch for their chunks (xxHash fast digest algorithm, 0.1.1). libxxhash
where there is one; else reckoned here, about a hundred times slower."""

from __future__ import annotations

import ctypes
import struct
from functools import cache

_MASK = (1 << 64) - 1
_P1, _P2, _P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P4, _P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def xxh64(data: bytes) -> int:
    """With seed 0."""
    library = _library()
    return reckoned(data) if library is None else int(library.XXH64(data, len(data), 0))


@cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libxxhash.so.0")
    except OSError:
        return None
    library.XXH64.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64)
    library.XXH64.restype = ctypes.c_uint64
    return library


def reckoned(data: bytes) -> int:
    whole = len(data) // 32 * 32
    if whole:
        lanes = [(_P1 + _P2) & _MASK, _P2, 0, -_P1 & _MASK]
        for words in struct.iter_unpack("<4Q", memoryview(data)[:whole]):
            lanes = [_round(lane, word) for lane, word in zip(lanes, words, strict=True)]
        one, two, three, four = lanes
        value = (_rotate(one, 1) + _rotate(two, 7) + _rotate(three, 12) + _rotate(four, 18)) & _MASK
        for lane in lanes:
            value = ((value ^ _round(0, lane)) * _P1 + _P4) & _MASK
    else:
        value = _P5
    return _avalanche(_rest((value + len(data)) & _MASK, data[whole:]))


def _rest(value: int, data: bytes) -> int:
    eights = len(data) // 8 * 8
    for (word,) in struct.iter_unpack("<Q", data[:eights]):
        value = (_rotate(value ^ _round(0, word), 27) * _P1 + _P4) & _MASK
    data = data[eights:]
    if len(data) >= 4:
        (word,) = struct.unpack_from("<I", data)
        value = (_rotate(value ^ (word * _P1 & _MASK), 23) * _P2 + _P3) & _MASK
        data = data[4:]
    for byte in data:
        value = _rotate(value ^ (byte * _P5 & _MASK), 11) * _P1 & _MASK
    return value


def _avalanche(value: int) -> int:
    value = (value ^ value >> 33) * _P2 & _MASK
    value = (value ^ value >> 29) * _P3 & _MASK
    return value ^ value >> 32


def _round(lane: int, word: int) -> int:
    return _rotate((lane + word * _P2) & _MASK, 31) * _P1 & _MASK


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> 64 - bits) & _MASK
