"""Text from elsewhere, made fit for a terminal.

Names and messages come from guests, files and other people. A control character among them could move the
cursor, change a window's title or answer for the person who looks.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` with all that is not printable shown as an escape, like ``\\x1b``: C0 and C1 controls, line
    breaks, invisible and direction-changing characters, lone surrogates."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def printable_lines(text: str) -> str:
    """As :func:`printable`, with line breaks and tabs kept."""
    return "\n".join(
        "\t".join(printable(cell) for cell in line.split("\t")) for line in text.replace("\r\n", "\n").split("\n")
    )


def duration(seconds: float) -> str:
    """``1 day,  2:03:04``, as ``xl uptime`` prints it."""
    days, rest = divmod(max(0, int(seconds)), 86400)
    return f"{_days(days)}{rest // 3600:2d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"


def short_duration(seconds: float) -> str:
    """``1 day,  2:03``, as ``xl uptime -s`` prints it."""
    days, rest = divmod(max(0, int(seconds)), 86400)
    return f"{_days(days)}{rest // 3600:2d}:{rest % 3600 // 60:02d}"


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Columns as wide as their widest cell, two spaces apart; cells are made printable."""
    cells = [header, *(tuple(printable(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "".join(line.rstrip() + "\n" for line in lines)


def _days(days: int) -> str:
    if days == 0:
        return ""
    return "1 day, " if days == 1 else f"{days} days, "


def _escape(char: str) -> str:
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
