"""A test that runs in the test host counts as one that runs here: each outcome comes out as it was."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = "tests/testhost/sample_outcomes.py"

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def told() -> str:
    if os.geteuid() != 0:
        pytest.skip("needs root, who alone may build the test host: sudo make test")
    words = (sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", SAMPLES)
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=1500, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def test_each_outcome_is_told_as_it_was_inside(told: str) -> None:
    outcomes = dict(reversed(match) for match in re.findall(r"^(\w+) \S*::(.+?)(?: - .*)?$", told, re.MULTILINE))
    assert outcomes == {
        "test_passes_inside": "PASSED",
        "test_fails_inside": "FAILED",
        "test_fails_as_expected_inside": "XFAIL",
        "test_has_a_broken_fixture_inside": "ERROR",
        "test_has_parameters[plain]": "PASSED",
        "test_has_parameters[with blanks & 'quotes']": "PASSED",
        "test_ends_the_whole_run": "FAILED",
        "test_comes_too_late": "FAILED",
    }
    assert "1 skipped" in told


def test_a_failure_shows_its_line_its_values_and_its_output(told: str) -> None:
    assert 'assert os.uname().nodename == "elsewhere"' in told
    assert "'testhost' == 'elsewhere'" in told
    assert "said inside" in told
    assert "the fixture broke inside" in told
    assert "a reason from inside" in told


def test_a_run_that_breaks_off_fails_the_test_it_was_in_and_those_that_it_never_came_to(told: str) -> None:
    assert told.count("pytest inside ended with 7") >= 2
