"""Tests of every outcome, for ``test_plugin.py``: by its name pytest does not collect this file by itself."""

from __future__ import annotations

import os

import pytest

pytestmark = pytest.mark.testhost


def test_passes_inside() -> None:
    assert os.environ["WIRT_TESTHOST"] == "1"
    assert os.uname().nodename == "testhost"


def test_fails_inside() -> None:
    print("said inside")
    assert os.uname().nodename == "elsewhere"


def test_is_skipped_inside() -> None:
    pytest.skip("a reason from inside")


@pytest.mark.xfail(reason="expected")
def test_fails_as_expected_inside() -> None:
    raise AssertionError


@pytest.fixture
def broken() -> None:
    raise RuntimeError("the fixture broke inside")


def test_has_a_broken_fixture_inside(broken: None) -> None:
    pass


@pytest.mark.parametrize("word", ["plain", "with blanks & 'quotes'"])
def test_has_parameters(word: str) -> None:
    assert word


def test_ends_the_whole_run() -> None:
    os._exit(7)


def test_comes_too_late() -> None:
    pass
