"""The test host in the hands of tests outside: commands, files, deadlines, and that nothing is left of it."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path

import pytest
from tests.testhost import image, plugin
from tests.testhost.commands import Failed
from tests.testhost.machine import Machine, a_machine

pytestmark = pytest.mark.root


def test_a_command_gives_its_exit_code_and_both_its_outputs(testhost: Machine) -> None:
    done = testhost.run("sh", "-c", "cat; echo wrong >&2; exit 3", stdin=b"given \0\xff")
    assert (done.code, done.out, done.err) == (3, b"given \0\xff", b"wrong\n")


def test_a_command_that_is_not_there_is_told(testhost: Machine) -> None:
    done = testhost.run("no-such-program")
    assert done.code == 127
    assert "no-such-program" in done.said


def test_a_command_ended_by_a_signal_says_which(testhost: Machine) -> None:
    assert testhost.run("sh", "-c", "kill -USR1 $$").code == -signal.SIGUSR1


def test_a_command_whose_time_is_up_is_gone_with_all_that_it_started(testhost: Machine) -> None:
    done = testhost.run("sh", "-c", "setsid sleep 7000 & echo begun; exec sleep 7000", timeout_s=5.0)
    assert (done.timed_out, done.out) == (True, b"begun\n")
    assert testhost.run("sh", "-c", "pgrep -x sleep").code == 1


def test_much_output_comes_whole(testhost: Machine) -> None:
    done = testhost.run("sh", "-c", "head -c 3000000 /dev/zero")
    assert done.out == bytes(3_000_000)


def test_files_go_in_and_come_back_as_they_were(testhost: Machine, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "a file, with blanks").write_bytes(os.urandom(300_000))
    (source / "program").write_text("#!/bin/sh\necho ran\n")
    (source / "program").chmod(0o755)
    testhost.put({"there": source}, "/root/put")
    assert testhost.ok("/root/put/there/program") == "ran\n"
    (tmp_path / "back").mkdir()
    testhost.get("/root/put/there", tmp_path / "back")
    names = ("deep/a file, with blanks", "program")
    assert [(tmp_path / "back/there" / name).read_bytes() for name in names] == [
        (source / name).read_bytes() for name in names
    ]


def test_what_was_put_twice_is_the_newer(testhost: Machine, tmp_path: Path) -> None:
    for text in ("first", "second"):
        (tmp_path / "file").write_text(text)
        testhost.put({"file": tmp_path / "file"}, "/root/twice")
    assert testhost.ok("cat", "/root/twice/file") == "second"


def test_its_clock_is_ours(testhost: Machine) -> None:
    before = time.time()
    assert before - 60 < float(testhost.ok("date", "+%s")) < time.time() + 60


def test_another_one_sees_nothing_of_what_was_done_and_its_death_is_told(testhost: Machine) -> None:
    testhost.ok("touch", "/root/mine")
    with a_machine(plugin.cache() / "testhost", print) as other:
        assert other.run("test", "-e", "/root/mine").code == 1
        os.kill(other.pid, signal.SIGKILL)
        with pytest.raises(Failed, match="the test host is gone"):
            other.run("true")
    assert testhost.run("test", "-e", "/root/mine").code == 0


def test_a_build_that_fails_leaves_nothing_and_is_not_taken_for_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, who alone may build the test host: sudo make test")

    def break_off(result: Path, scratch: Path, packages: Path, tell: object) -> None:
        (result / "vmlinuz").write_text("half")
        raise Failed("no space", hint="remove something")

    monkeypatch.setattr(image, "_write_disk", break_off)
    for _ in range(2):
        with pytest.raises(Failed, match=r"no space\nremove something"), image.held(tmp_path, lambda text: None):
            pytest.fail("it was taken for whole")
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_what_a_killed_build_and_older_recipes_left_is_removed_but_not_what_is_in_use(tmp_path: Path) -> None:
    for name in (".building-x", "older", "used"):
        (tmp_path / name).mkdir()
    holding = image._lock_file(tmp_path / "used.used")
    try:
        fcntl.flock(holding, fcntl.LOCK_SH)
        image._remove_others(tmp_path, "current")
    finally:
        os.close(holding)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["used", "used.used"]
