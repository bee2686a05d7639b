"""What all tests share: the tiny guest, built once and kept in `.cache`."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest

from wirt.images.tiny import TinyImage, build_tiny, find_tiny, is_current
from wirt.model.errors import ImageBuildFailed

pytest_plugins = ("tests.testhost.plugin",)

# What is to decide about a change says the same of it each time. `make test-long` looks for what nobody knows yet.
hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.load_profile("same")

CACHE = Path(os.environ.get("WIRT_TEST_CACHE", Path(__file__).resolve().parents[1] / ".cache"))


def pytest_configure() -> None:
    """What a shell starts in the background ignores Ctrl-C, and what nohup(1) starts a hang-up, and so would every
    command that a test starts and sends one. A handler is not inherited."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture(scope="session")
def tiny() -> TinyImage:
    """The tiny guest, built when it is missing or made from other sources: that takes a minute and the network,
    once."""
    found = _current()
    if found is not None:
        return found
    try:
        # In a thread, because the test that asks for it may have an event loop of its own running here.
        with building(), ThreadPoolExecutor(1) as thread:
            return _current() or thread.submit(_build).result()
    except ImageBuildFailed as error:
        pytest.fail(f"this test needs the tiny guest: {error}", pytrace=False)


@contextmanager
def building() -> Iterator[None]:
    """Two parts of ``make test`` run side by side: one builds, the other waits and finds it there."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "tiny.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _current() -> TinyImage | None:
    return find_tiny(CACHE / "tiny") if is_current(CACHE / "tiny") else None


def _build() -> TinyImage:
    return asyncio.run(build_tiny(CACHE / "tiny", CACHE / "packages", lambda what, share: None))
