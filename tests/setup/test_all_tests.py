"""All tests in parts: what fails is told and fails the whole, and who cancels leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tools.all_tests import AGAIN_LINES, HOSTS, MEASURING, NOT_ONE, ROOT, Part, Runner, the_parts, verdict

PATIENCE_S = 60.0


def shell(name: str, script: str) -> Part:
    return Part(name, ("sh", "-c", script))


def run(*parts: Part) -> tuple[dict[str, int], list[str]]:
    said: list[str] = []
    runner = Runner(said.append)
    runner.run(parts)
    return runner.ended, said


def test_parts_run_at_the_same_time(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "meet")
    ended, said = run(shell("one", f"echo hello > {tmp_path / 'meet'}"), shell("two", f"cat {tmp_path / 'meet'}"))
    assert ended == {"one": 0, "two": 0}
    assert "      two | hello" in said


def test_each_part_runs_to_its_end_and_every_failure_is_told() -> None:
    ended, said = run(
        shell("one", "exit 1"), shell("two", "sleep 0.5; echo last words; exit 3"), shell("three", "")
    )
    assert ended == {"one": 1, "two": 3, "three": 0}
    assert "      two | last words" in said
    assert verdict(ended) == (1, "failed: one, two")


def test_what_pytest_sums_up_stays_in_one_piece() -> None:
    slow = "echo ===== FAILURES; sleep 0.6; echo of one"
    _, said = run(shell("one", slow), shell("two", "sleep 0.3; echo between"))
    at = said.index("      one | ===== FAILURES")
    assert said[at + 1] == "      one | of one"


def test_what_a_failed_part_said_last_is_said_again_at_the_very_end() -> None:
    said: list[str] = []
    runner = Runner(said.append)
    runner.run([shell("one", "seq 1000; echo FAILED of one; exit 1"), shell("two", "sleep 1; echo passed of two")])
    runner.tell_failures_again()
    assert said[-2] == "      one | FAILED of one"
    assert said.count("      one | FAILED of one") == 2
    assert len(said) < 1000 + AGAIN_LINES + 10
    assert said.count("      two | passed of two") == 1


def test_what_a_part_leaves_behind_keeps_nobody_waiting(tmp_path: Path) -> None:
    ended, _ = run(shell("one", f"sleep 600 & echo $! > {tmp_path / 'pid'}"))
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert ended == {"one": 0}


@pytest.mark.parametrize(
    ("ended", "status"),
    [
        ({"lint": 0, "hosts": 0, "others": 0, "measuring": 0}, 0),
        ({"lint": 0, "hosts": NOT_ONE, "others": 0, "measuring": NOT_ONE}, 0),
        ({"lint": 0, "hosts": NOT_ONE, "others": NOT_ONE, "measuring": NOT_ONE}, NOT_ONE),
        ({"lint": 2, "hosts": 0, "others": 0, "measuring": 0}, 1),
        ({"lint": 0, "hosts": 0, "others": -signal.SIGKILL, "measuring": 0}, 1),
        ({"lint": 0, "hosts": NOT_ONE, "others": NOT_ONE, "measuring": 1}, 1),
    ],
)
def test_one_part_that_fails_fails_the_whole_and_so_does_a_word_that_selects_nothing(
    ended: dict[str, int], status: int
) -> None:
    assert verdict(ended)[0] == status


RUN_TWO = """
import signal, sys
from tools.all_tests import Part, Runner
script = "trap 'echo told >> told; exit 2' INT; echo begun >> begun; while :; do sleep 0.05; done"
runner = Runner(print)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, runner.cancel)
runner.run([Part(name, ("sh", "-c", f"cd {sys.argv[1]}; {script}")) for name in ("one", "two")])
runner.run([Part("alone", ("sh", "-c", f"touch {sys.argv[1]}/never"))])
"""


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_every_part_is_told_once_when_the_whole_is_cancelled_or_killed(
    tmp_path: Path, number: signal.Signals
) -> None:
    whole = subprocess.Popen([sys.executable, "-c", RUN_TWO, tmp_path], cwd=ROOT)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while lines(tmp_path / "begun") < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        whole.send_signal(number)
        assert whole.wait(PATIENCE_S) == (-number if number == signal.SIGKILL else 0)
    finally:
        whole.kill()
        whole.wait()
    while lines(tmp_path / "told") < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert lines(tmp_path / "told") == 2
    assert not (tmp_path / "never").exists()


def test_every_test_is_in_one_part() -> None:
    """A path that is gone would be passed over where it is ignored, and its tests be run twice or never."""
    assert all((ROOT / path).exists() for path in (*HOSTS, *MEASURING))
    (_, hosts, others), (measuring,) = the_parts([])
    ignored = {word.removeprefix("--ignore=") for word in others.command if word.startswith("--ignore=")}
    assert ignored == {word for part in (hosts, measuring) for word in part.command if word.startswith("tests/")}
