"""Every external program that the sources call comes from a package that set-up installs.

A machine on which somebody has worked for a while hides what a fresh one lacks. Which package brought a program
is asked of the machine that the tests run on: so this finds what is there by chance, and a program that isn't
there at all is found by whatever test calls it.
"""

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
RUNNERS = {
    "which",
    "run",
    "Popen",
    "call",
    "check_call",
    "check_output",
    "create_subprocess_exec",
    "execvp",
    "execlp",
}
"""Calls whose first argument is a program, or a list that begins with one."""
ASSUMED = {"git", "make", "apt"}
"""Packages that a machine with a clone on it has, whether or not set-up has run."""
WORDS = {"host", "file", "info", "link", "free", "top", "watch", "write", "import", "convert", "shutdown", "rpm"}
"""Strings that begin lists without meaning the program of that name."""

IF_THERE = {"man", "systemd-analyze"}
"""Programs that a test uses where they happen to be, and does without elsewhere."""

pytestmark = pytest.mark.skipif(
    shutil.which("dpkg-query") is None,
    reason="needs dpkg-query, which knows the package of a program: run on Debian",
)


def programs_named(source: str) -> Iterator[tuple[int, str]]:
    """The line and the string, wherever a string stands where a program's name would."""
    for node in ast.walk(ast.parse(source)):
        first: ast.expr | None = None
        if isinstance(node, ast.List) and node.elts:
            first = node.elts[0]
        elif isinstance(node, ast.Call) and node.args:
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            first = node.args[0] if name in RUNNERS else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.lineno, first.value


def package_of(program: str) -> str | None:
    """The Debian package of a program of this machine, None if it has none such."""
    found = shutil.which(Path(program).name, path=SYSTEM_PATH)
    if found is None:
        return None
    real = str(Path(found).resolve())
    # Debian 12's packages name /bin/x where the machine has /usr/bin/x
    for path in (found, real, real.removeprefix("/usr")):
        answer = subprocess.run(["dpkg-query", "-S", path], capture_output=True, text=True, check=False)
        if answer.returncode == 0 and not answer.stdout.startswith("diversion"):
            return re.split("[:,]", answer.stdout)[0]
    return None


def packages_of_any_debian() -> set[str]:
    answer = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Essential} ${Priority}\n"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split() for line in answer.stdout.splitlines()]
    return {row[0] for row in rows if "yes" in row[1:] or "required" in row[1:]}


def packages_installed_by_setup() -> set[str]:
    lines = (ROOT / "tools/setup/packages.txt").read_text().splitlines()
    named = [line.split()[1].split("|") for line in lines if line and not line.startswith("#")]
    return {name for alternatives in named for name in alternatives}


def test_programs_are_found_where_they_are_called() -> None:
    source = "run('ip', 'link')\nargv = ['nft', '-j']\nx.which('virsh')\nprint('tc')\n('bwrap',)\n"
    assert sorted(programs_named(source)) == [(1, "ip"), (2, "nft"), (3, "virsh")]


def test_each_program_called_comes_from_a_package_that_setup_installs() -> None:
    known = packages_installed_by_setup() | packages_of_any_debian() | ASSUMED
    callers: dict[str, list[str]] = {}
    for folder in ("src", "tools", "tests", "bench"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text()
            if "pytestmark = [pytest.mark.testhost" in text:
                continue  # its programs are those of the test host, where it fails if one is missing
            for line, name in programs_named(text):
                if re.fullmatch(r"(/(usr/)?s?bin/)?[a-z][\w.+-]*", name) and name not in WORDS | IF_THERE:
                    callers.setdefault(name, []).append(f"{path.relative_to(ROOT)}:{line}")
    strangers = [
        f"{name}, of the package {package}, at {', '.join(callers[name])}"
        for name in sorted(callers)
        if (package := package_of(name)) is not None and package not in known
    ]
    assert not strangers, (
        "these programs are here by chance: add their packages to tools/setup/packages.txt "
        "(or, if it is just a word, the word to WORDS)\n  " + "\n  ".join(strangers)
    )
