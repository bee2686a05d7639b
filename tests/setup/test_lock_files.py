"""The lock files say exactly what is installed, and nothing about where somebody got it."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.txt", "requirements-dev.txt")


def locked(name: str) -> dict[str, str]:
    """Name and version of each package in a lock file."""
    return dict(re.findall(r"^([a-z0-9.-]+)==([^\s;]+)", (ROOT / name).read_text(), re.MULTILINE))


def canonical(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name.group()).lower()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_with_hashes(lock: str) -> None:
    entries = re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip())
    assert len(entries) == len(locked(lock)) > 0
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_no_address_of_anybody_s_index_is_in_it(lock: str) -> None:
    assert not re.search(r"://|--index|--extra-index|--find-links|--trusted|@ ", (ROOT / lock).read_text())


def test_what_pyproject_names_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    used = {canonical(each) for each in project["project"]["dependencies"]}
    assert used <= locked("requirements.txt").keys(), "make lock"
    developing = {canonical(each) for each in project["dependency-groups"]["dev"]}
    assert used | developing <= locked("requirements-dev.txt").keys(), "make lock"


def test_the_tests_run_with_the_versions_that_users_get() -> None:
    assert locked("requirements.txt").items() <= locked("requirements-dev.txt").items()
