"""Starting wirtd when a command finds none: once, however many commands find it missing at the same time."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time

from wirt.client import http
from wirt.client.errors import ClientError, DaemonUnreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wirt.wire.home import Home

DEADLINE_S = 30.0
PATIENCE_S = 1.0
"""After so long a person is told why nothing happens."""
_TICK_S = 0.02
_LAST_WORDS_BYTES = 4096


def start_daemon(home: Home, environment: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Returns when a wirtd serves ``home``'s socket; starts one unless another command just did.

    ``say`` gets one line if it takes longer than a second. Raises :class:`DaemonUnreachable` with wirtd's own
    last words, or when ``WIRT_NO_AUTOSTART`` forbids it.
    """
    if environment.get("WIRT_NO_AUTOSTART", "0") not in ("", "0"):
        raise DaemonUnreachable(
            f"wirtd does not answer at {home.socket}",
            hint="start it with wirtd, or unset WIRT_NO_AUTOSTART and commands start it by themselves",
        )
    clock = _Patience(say)
    lock = _locked(home, clock)
    try:
        if not _serves(home):
            _spawn(home, environment, clock)
    finally:
        os.close(lock)


class _Patience:
    """The deadline of one start, and the line that is said once when it drags on."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._begin = time.monotonic()
        self._say = say
        self._said = False

    def tick(self) -> None:
        """Sleeps a moment; :class:`DaemonUnreachable` after the deadline."""
        gone_s = time.monotonic() - self._begin
        if gone_s > DEADLINE_S:
            raise DaemonUnreachable(f"wirtd was started and did not serve within {DEADLINE_S:g} s")
        if gone_s > PATIENCE_S and not self._said:
            self._said = True
            self._say("wirt: waiting for wirtd to start ...")
        time.sleep(_TICK_S)


def _locked(home: Home, clock: _Patience) -> int:
    """The descriptor of the lock file, locked. Not the daemon's own lock: that one says who serves."""
    path = os.path.join(home.run, "start.lock")
    try:
        os.makedirs(home.run, mode=0o700, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ClientError(
            f"can't use {home.run}: {error.strerror}",
            hint="set WIRT_HOME=DIR to a directory of your own",
        ) from None
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                clock.tick()
            else:
                return lock
    except BaseException:
        os.close(lock)
        raise


def _serves(home: Home) -> bool:
    try:
        http.connect(home.socket, PATIENCE_S).close()
    except DaemonUnreachable:
        return False
    return True


def _spawn(home: Home, environment: Mapping[str, str], clock: _Patience) -> None:
    # Not a pipe: the daemon may keep its standard error open, and nobody would ever see its end.
    words = os.memfd_create("wirtd-stderr")
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "wirt.daemon.main", "--background", "--join"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=words,
            env=dict(environment),
            start_new_session=True,
        )
        while process.poll() is None:
            clock.tick()
        if process.returncode != 0:
            raise DaemonUnreachable(f"wirtd can't start: {_last_words(words)}", hint=f"its log is {home.log}")
    finally:
        os.close(words)
    if not _serves(home):
        raise DaemonUnreachable(
            f"wirtd said that it serves {home.socket}, and does not", hint=f"its log is {home.log}"
        )


def _last_words(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    data = os.pread(descriptor, _LAST_WORDS_BYTES, max(0, size - _LAST_WORDS_BYTES))
    text = data.decode("utf-8", "replace").strip()
    return text.removeprefix("wirtd: ") or "it ended without a word"
