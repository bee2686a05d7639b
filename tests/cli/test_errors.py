"""What a person is told, and which exit code a script sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wirt.cli.verbs import VERBS

from . import samples
from .canned import Canned, problem
from .conftest import Run


def test_an_error_is_one_line_and_a_hint(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["POST /v1/domains/web/pause"] = problem(409, "domain web is off", hint="wirt start web")
    result = wirt("pause", "web")
    assert (result.code, result.out) == (1, "")
    assert result.err == "wirt: domain web is off\n  hint: wirt start web\n"


def test_a_mistake_in_a_file_says_its_place_first(wirtd: Canned, wirt: Run, home: Path) -> None:
    (home / "web.cfg").write_text("memory = 12x\n")
    wirtd.routes["POST /v1/domains"] = problem(
        422, "expected a number", code="config-error", file="web.cfg", line=1, column=10, key="memory", hint="MiB"
    )
    result = wirt("create", str(home / "web.cfg"))
    assert (result.code, result.err) == (1, "wirt: web.cfg:1:10: memory: expected a number\n  hint: MiB\n")


def test_a_message_of_several_lines_stays_together(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/info"] = problem(502, "QEMU died\nqemu: no such device\nqemu: giving up", hint="a\nb")
    assert wirt("info").err == (
        "wirt: QEMU died\n  qemu: no such device\n  qemu: giving up\n  hint: a\n        b\n"
    )


def test_with_json_a_failure_is_a_document_too(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/domains/web"] = problem(404, "there is no domain web", code="not-found")
    result = wirt("domid", "web", "-o", "json")
    assert result.code == 1
    assert json.loads(result.out)["error"]["code"] == "not-found"
    assert result.err == "wirt: there is no domain web\n"


@pytest.mark.parametrize(
    "answer",
    [
        (500, "a string"),
        (500, {"title": 5}),
        (200, ["a list"]),
        (200, {"domains": None}),
        (200, {"domains": ["x"]}),
        (200, {"domains": [{"name": "web"}]}),
        (200, {"domains": [samples.domain("web", 1, memory_mib="much")]}),
        (200, {"domains": [samples.domain("web", 1) | {"name": None}]}),
    ],
    ids=range(8),
)
def test_an_answer_that_makes_no_sense_is_an_error_and_no_fault_of_ours(
    wirtd: Canned, wirt: Run, answer: tuple[int, object]
) -> None:
    wirtd.routes["GET /v1/domains"] = answer
    for verb in ("list", "uptime"):
        result = wirt(verb)
        assert result.code == 1
        assert result.err.startswith("wirt: wirtd")
        assert "fault" not in result.err


def test_fields_of_a_later_version_are_ignored(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/info"] = (200, {**samples.INFO, "colour": "blue"})
    result = wirt("info")
    assert result.code == 0
    assert "blue" not in result.out


def test_a_wrong_command_line_is_exit_code_2_and_touches_nothing(wirtd: Canned, wirt: Run) -> None:
    for words in (
        ["frobnicate"],
        ["list", "--frobnicate"],
        ["--frobnicate", "list"],
        ["-o", "xml", "list"],
        ["list", "-o", "xml"],
        ["-N", "list"],
        ["pause"],
        ["shutdown"],
        ["shutdown", "-a", "web"],
        ["shutdown", "web", "--timeout", "5"],
        ["wait", "web", "--until", "happy"],
        ["wait", "web", "--timeout", "-1"],
        ["rename", "web"],
        ["create"],
        ["create", "a.cfg", "b.cfg"],
        ["create", "-c", "-o", "json", "a.cfg"],
        ["console", "web", "-o", "json"],
        ["image", "build"],
        ["image", "build", "huge"],
        ["help", "frobnicate"],
    ):
        result = wirt(*words)
        assert result.code == 2, words
        assert result.out == "", words
        assert result.err.startswith("wirt: "), words
    assert wirtd.requests == []


def test_a_mistyped_verb_is_guessed(wirt: Run) -> None:
    assert "did you mean: wirt destroy" in wirt("destory").err
    assert "hint: wirt help\n" in wirt("xyzzy").err


def test_every_verb_explains_itself_without_a_daemon(wirt: Run) -> None:
    for name in VERBS:
        result = wirt(name, "--help")
        assert result.code == 0
        assert f"usage: wirt {name}" in result.out
        assert wirt("help", name).out == result.out
    overview = wirt()
    assert overview.code == 0
    assert overview.out == wirt("help").out == wirt("--help").out
    assert all(f"  {name} " in overview.out for name in VERBS)


def test_create_help_has_an_example_and_names_xl(wirt: Run) -> None:
    text = wirt("create", "--help").out
    assert "xl" in text
    assert "wirt create web.cfg" in text


def test_options_may_stand_anywhere_as_with_xl(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/domains"] = (200, samples.domain_list(samples.domain("a", 1), samples.domain("b", 2)))
    expected = json.loads(wirt("list", "a", "b", "-o", "json").out)
    for words in (
        ["-o", "json", "list", "a", "b"],
        ["-v", "-ojson", "list", "a", "b"],
        ["list", "a", "-ojson", "b"],
    ):
        assert json.loads(wirt(*words).out) == expected


def test_no_daemon_and_none_wanted_says_how_to_start_one(wirt: Run) -> None:
    result = wirt("list")
    assert result.code == 1
    assert "wirtd does not answer at" in result.err
    assert "WIRT_NO_AUTOSTART" in result.err


def test_a_fault_of_ours_is_one_line_that_says_where_to_look(
    wirt: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wirt.client.api import Api

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("boom\nsecond line")

    monkeypatch.setattr(Api, "domains", broken)
    result = wirt("list")
    assert result.code == 1
    assert result.err.splitlines()[0] == "wirt: RuntimeError: boom (this is a fault in wirt)"
    assert str(home / "log" / "wirtd.log") in result.err
    assert "Traceback" not in result.err
    monkeypatch.setenv("WIRT_DEBUG", "1")
    assert "Traceback" in wirt("list").err


def test_ctrl_c_is_130_without_a_word(wirt: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from wirt.client.api import Api

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Api, "domains", interrupted)
    result = wirt("list")
    assert (result.code, result.out, result.err) == (130, "", "")


def _with_output_to(descriptor: int) -> tuple[int, bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "wirt.cli.main", "list"],
        stdout=descriptor,
        stderr=subprocess.PIPE,
        timeout=20,
        check=False,
    )
    return done.returncode, done.stderr


def test_nobody_reading_is_silent(wirtd: Canned) -> None:
    wirtd.routes["GET /v1/domains"] = (
        200,
        samples.domain_list(*[samples.domain(f"d{n}", n) for n in range(2000)]),
    )
    reader, writer = os.pipe()
    os.close(reader)
    assert _with_output_to(writer) == (141, b"")
    os.close(writer)


def test_a_full_disk_is_told(wirtd: Canned) -> None:
    wirtd.routes["GET /v1/domains"] = (200, samples.domain_list(samples.domain_0()))
    full = os.open("/dev/full", os.O_WRONLY)
    assert _with_output_to(full) == (1, b"wirt: can't write the output: No space left on device\n")
    os.close(full)


def test_an_encoding_that_lacks_a_name_s_letters_is_no_error(wirtd: Canned, wirt_process: Run) -> None:
    wirtd.routes["GET /v1/domains"] = (200, samples.domain_list(samples.domain("ü日", 1)))
    result = wirt_process("list", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert result.code == 0
    assert result.out.splitlines()[1].startswith("\\xfc\\u65e5")


def test_a_closed_standard_output_is_no_fault(wirtd: Canned) -> None:
    wirtd.routes["GET /v1/domains"] = (200, samples.domain_list(samples.domain_0()))
    command = f"exec {sys.executable} -m wirt.cli.main list >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
