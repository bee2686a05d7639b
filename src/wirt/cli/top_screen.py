"""``wirt top`` on a terminal: draws what :mod:`wirt.cli.top_table` writes, and takes xentop's keys."""

from __future__ import annotations

import contextlib
import curses
import locale
import os
import time

from wirt.cli.top_table import COLUMNS, Line, View, body, summary
from wirt.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wirt.wire.v1_stats import StatsList

ESCAPE, ENTER, NEWLINE, BACKSPACE, REPAINT = 27, 13, 10, 127, 12
LONGEST_PROMPT = 8
MOST_DELAY_S = 3600.0
_LOOK_MS = 500
_MENU = ("Delay", "Networks", "B vbds", "VCPUs", "Repeat header", "Sort", "Quit")
"""Their first letters are the keys."""


def press(view: View, key: int) -> bool:
    """What a key does; whether to go on."""
    if view.prompt is not None:
        _type(view, key)
        return True
    match chr(key).upper() if 0 < key < 128 else key:
        case "Q" | "\x1b":
            return False
        case "D":
            view.prompt = ""
        case "N":
            view.networks = not view.networks
        case "B" | "X":
            view.vbds = not view.vbds
        case "V":
            view.vcpus = not view.vcpus
        case "R":
            view.repeat_header = not view.repeat_header
        case "S":
            view.sort = (view.sort + 1) % len(COLUMNS)
        case curses.KEY_DOWN:
            view.first += 1
        case curses.KEY_UP:
            view.first = max(0, view.first - 1)
    return True


def _type(view: View, key: int) -> None:
    """A delay in seconds. What is none leaves it as it is."""
    typed = view.prompt or ""
    if key in (ENTER, NEWLINE, curses.KEY_ENTER):
        with contextlib.suppress(ValueError):
            delay_s = float(typed)
            if 0 < delay_s <= MOST_DELAY_S:
                view.delay_s = delay_s
        view.prompt = None
    elif key == ESCAPE:
        view.prompt = None
    elif key in (BACKSPACE, 8, curses.KEY_BACKSPACE):
        view.prompt = typed[:-1]
    elif 0 < key < 128 and chr(key) in "0123456789." and len(typed) < LONGEST_PROMPT:
        view.prompt = typed + chr(key)


def show(view: View, fetch: Callable[[], StatsList], iterations: int | None) -> None:
    """Until a key ends it, or after so many tables. The terminal is left as it was, whatever happens."""
    locale.setlocale(locale.LC_ALL, "")
    # Escape is a key here, and no beginning of one that takes a second to come.
    os.environ.setdefault("ESCDELAY", "25")
    first = fetch()  # a wirtd that can't be reached says so on an ordinary screen
    try:
        curses.wrapper(lambda screen: _loop(screen, view, fetch, first, iterations))
    except curses.error as error:
        raise ClientError(f"this terminal can't be drawn on: {error}", hint="wirt top -b prints") from error


def _loop(
    screen: curses.window, view: View, fetch: Callable[[], StatsList], stats: StatsList, iterations: int | None
) -> None:
    with contextlib.suppress(curses.error):
        curses.curs_set(0)
    with contextlib.suppress(curses.error):
        curses.use_default_colors()
    screen.timeout(_LOOK_MS)
    left, due = iterations, time.monotonic() + view.delay_s
    while True:
        draw(screen, view, stats)
        key = screen.getch()
        if key != curses.ERR and not press(view, key):
            return
        if key == REPAINT:
            screen.clear()
        now = time.monotonic()
        # A shorter delay takes effect at once.
        due = min(due, now + view.delay_s)
        if now >= due:
            left = None if left is None else left - 1
            if left == 0:
                return
            stats, due = fetch(), now + view.delay_s


def draw(screen: curses.window, view: View, stats: StatsList) -> None:
    rows, columns = screen.getmaxyx()
    screen.erase()
    head = [Line(text) for text in summary(stats, time.strftime("%H:%M:%S"))]
    for row, line in enumerate((head + body(stats, view))[: max(0, rows - 1)]):
        _put(screen, row, line, columns)
    _bottom(screen, view, rows - 1, columns)
    screen.refresh()


def _put(screen: curses.window, row: int, line: Line, columns: int) -> None:
    plain = curses.A_REVERSE if line.header else curses.A_NORMAL
    start, end = line.bold
    _add(screen, row, 0, line.text[:start], plain, columns)
    _add(screen, row, start, line.text[start:end], plain | curses.A_BOLD, columns)
    _add(screen, row, end, line.text[end:], plain, columns)


def _bottom(screen: curses.window, view: View, row: int, columns: int) -> None:
    if view.prompt is not None:
        _add(screen, row, 2, f"Delay(sec): {view.prompt}", curses.A_BOLD, columns)
        return
    on = {"N": view.networks, "B": view.vbds, "V": view.vcpus, "R": view.repeat_header}
    at = 2
    for word in _MENU:
        _add(screen, row, at, word[:1], curses.A_REVERSE, columns)
        _add(screen, row, at + 1, word[1:], curses.A_BOLD if on.get(word[:1]) else curses.A_NORMAL, columns)
        at += len(word) + 2


def _add(screen: curses.window, row: int, column: int, text: str, look: int, columns: int) -> None:
    """As much as fits. Writing into the last place of the last row is an error to curses, and is done all the
    same."""
    if text and row >= 0 and column < columns:
        with contextlib.suppress(curses.error):
            screen.addnstr(row, column, text, columns - column, look)
