"""Words that come from outside (a guest, a hypervisor, an image) on their way into a message of ours."""

from __future__ import annotations

MOST_CHARACTERS = 2000


def plain(text: object, most: int = MOST_CHARACTERS) -> str:
    """``text`` as one line that can't move a terminal's cursor: what is not printable stands as an escape, like
    ``\\x1b``, and what is longer than ``most`` characters is cut, with ``...`` in its place."""
    words = str(text)
    # Each character may become ten; looking at more than can be shown would be for nothing.
    cut = len(words) > most
    words = words[:most]
    if not words.isprintable():
        words = "".join(char if char.isprintable() else _escape(char) for char in words)
    if cut or len(words) > most:
        return f"{words[: max(0, most - 3)]}..."
    return words


def _escape(char: str) -> str:
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
