"""Start-up time is a feature: what ``wirt list`` may import, and how long it may take."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from . import samples
from .canned import Canned

FORBIDDEN = {
    "asyncio",
    "click",
    "email",
    "http.client",
    "importlib.metadata",
    "pathlib",
    "pydantic",
    "shutil",
    "ssl",
    "subprocess",
    "threading",
    "typing",
    "urllib.parse",
    "websockets",
    "wirt.wire.v1",
}
LIST = "import sys; from wirt.cli.main import main; status = main(['list'])"
TIMES = 6.0


@pytest.fixture
def serving(wirtd: Canned) -> Canned:
    def answer(_: object) -> tuple[int, object]:
        time.sleep(0.004)
        return 200, samples.domain_list(samples.domain_0(), samples.domain("web", 1))

    wirtd.routes["GET /v1/domains"] = answer
    return wirtd


def test_list_imports_nothing_that_is_slow(serving: Canned) -> None:
    code = f"{LIST}; print(status, *sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    status, *modules = done.stderr.split()
    assert status == "0"
    assert FORBIDDEN & set(modules) == set()
    assert [name for name in modules if name.startswith("wirt.")] == [
        "wirt.cli",
        "wirt.cli.arguments",
        "wirt.cli.listing",
        "wirt.cli.main",
        "wirt.cli.session",
        "wirt.cli.text",
        "wirt.cli.verbs",
        "wirt.client",
        "wirt.client.api",
        "wirt.client.errors",
        "wirt.client.http",
        "wirt.wire",
        "wirt.wire.home",
    ]


def test_list_takes_at_most_six_times_an_empty_python(serving: Canned, tmp_path: Path) -> None:
    """Interleaved, and the fastest of each: a busy machine can only slow things down."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def took_s(code: str) -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begin

    took_s(LIST)
    for _ in range(3):
        pairs = [(took_s("pass"), took_s(LIST)) for _ in range(7)]
        ratio = min(pair[1] for pair in pairs) / min(pair[0] for pair in pairs)
        if ratio <= TIMES:
            return
    pytest.fail(f"wirt list takes {ratio:.1f} times as long as python -c pass; {TIMES} are allowed")
