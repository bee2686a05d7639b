"""Whether taps can be made here is found out before anyone tries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import wirt

_ASK = "from wirt.network.taps import can_make_taps; print(can_make_taps())"
_SOURCE = str(Path(wirt.__file__).parents[1])


def ask(*wrapper: str) -> bool:
    """In a process that ``wrapper`` starts."""
    done = subprocess.run(
        [*wrapper, sys.executable, "-c", _ASK],
        env={**os.environ, "PYTHONPATH": _SOURCE},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    if done.returncode != 0 and "unshare" in done.stderr:
        pytest.skip(f"needs user namespaces ({done.stderr.strip()}): sysctl user.max_user_namespaces=1000")
    assert done.stdout in ("True\n", "False\n"), done.stderr
    return done.stdout == "True\n"


@pytest.mark.root
def test_root_can(namespace: None) -> None:
    assert ask()


@pytest.mark.root
def test_root_without_the_capability_cannot(namespace: None) -> None:
    assert not ask("setpriv", "--inh-caps=-net_admin", "--bounding-set=-net_admin")


@pytest.mark.root
def test_root_of_a_user_namespace_cannot_in_a_network_that_is_not_its_own(namespace: None) -> None:
    assert not ask("unshare", "--user", "--map-root-user")


@pytest.mark.root
def test_root_of_a_user_namespace_can_in_its_own_network(namespace: None) -> None:
    assert ask("unshare", "--user", "--map-root-user", "--net")


def test_asking_loads_no_netlink_library() -> None:
    """The daemon asks while it starts, which must not take the 0.3 s of that import."""
    done = subprocess.run(
        [sys.executable, "-c", f"{_ASK}; import sys, wirt.network; assert 'pyroute2' not in sys.modules"],
        env={**os.environ, "PYTHONPATH": _SOURCE},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
