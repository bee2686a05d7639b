"""The documentation says what the program does: pages are fresh, nothing lacks its line, links lead somewhere."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tools import reference
from tools.manual.commands import parser_of

from wirt.cli.verbs import VERBS
from wirt.config.settings import SETTINGS
from wirt.config.xlcfg import KEYS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), *sorted(ROOT.glob("*.md"))]
MANUALS = [DOCS / "man" / name for name in ("wirt.1", "wirtd.8", "wirt.cfg.5")]
PICTURES = [DOCS / f"{each}.svg" for each in ("picture", "architecture", "isolation", "lab", "scheduling")]

REQUESTS = {"TH", "SH", "SS", "PP", "TP", "RS", "RE", "nf", "fi", "br"}
ESCAPES = {"\\e", "\\-", "\\&", "\\fB", "\\fR", "\\(dq", "\\(ha"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", reference.pages())
def test_a_page_of_reference_is_what_the_program_says(path: str) -> None:
    file = ROOT / path
    fresh = file.exists() and file.read_text() == reference.pages()[path]
    assert fresh, f"{path} is stale: run .venv/bin/python tools/reference.py"


def test_check_names_stale_pages_and_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["reference.py", "--check"])
    assert reference.main() == 1
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(sys, "argv", ["reference.py"])
    assert reference.main() == 0
    assert reference.stale() == []


def test_the_generator_runs_as_a_script() -> None:
    command = (sys.executable, str(ROOT / "tools" / "reference.py"), "--help")
    run = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True)
    assert "--check" in run.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_each_of_its_options_has_a_line_of_help(verb: str) -> None:
    assert VERBS[verb].help.strip()
    parser = parser_of(VERBS[verb])
    assert parser.description
    untold = [action.dest for action in parser._actions if _needs_help(action) and not (action.help or "").strip()]
    assert untold == []


def _needs_help(action: argparse.Action) -> bool:
    """A positional word that is called what it is, or has its choices in its name, says enough."""
    return bool(action.option_strings) or (action.choices is None and action.metavar != "NEW-NAME")


@pytest.mark.parametrize("key", KEYS)
def test_every_key_has_a_sentence(key: str) -> None:
    assert re.fullmatch(r"[A-Z0-9].*[.]", KEYS[key].help, re.DOTALL), KEYS[key].help


def test_every_setting_has_a_line() -> None:
    assert [setting.name for setting in SETTINGS if not setting.help.strip()] == []


def test_every_variable_that_wirt_reads_is_documented() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    read = set(re.findall(r"""["'](WIRT_[A-Z_]+)["']""", sources))
    told = "".join((DOCS / "reference" / page).read_text() for page in ("commands.md", "settings.md"))
    assert read
    assert {variable for variable in read if f"`{variable}`" not in told} == set()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_between_pages_resolve(page: Path) -> None:
    assert [link for link in _links(page.read_text()) if not _resolves(page, link)] == []


def _links(text: str) -> Iterator[str]:
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"\]\(([^)\s]+)\)", prose)
    yield from re.findall(r"""(?:src|href|srcset)="([^"]+)\"""", prose)


def _resolves(page: Path, link: str) -> bool:
    if re.match("[a-z]+:", link):
        return True
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    if not target.exists():
        return False
    return not anchor or anchor in _anchors(target.read_text())


def _anchors(text: str) -> set[str]:
    """As GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A heading: here\n[a](#a-heading-here) [b](#gone) [c](page.md) [d](gone.md)\n")
    assert [link for link in _links(page.read_text()) if not _resolves(page, link)] == ["#gone", "gone.md"]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_pages_name_nothing_of_one_machine(page: Path) -> None:
    assert re.findall(r"/(?:work|tmp/lab|home/\w+)/\S*", page.read_text()) == []


@pytest.mark.parametrize("manual", MANUALS, ids=name)
def test_a_manual_has_its_sections(manual: Path) -> None:
    lines = manual.read_text().split("\n")
    title, section = manual.stem, manual.suffix[1:]
    assert lines[1].startswith(f".TH {title.upper()} {section} ")
    assert lines[2:4] == [".SH NAME", lines[3]] and lines[3].startswith(f"{title} \\- ")
    assert '.SH "DESCRIPTION"' in lines and '.SH "SEE ALSO"' in lines


@pytest.mark.parametrize("manual", MANUALS, ids=name)
def test_a_manual_uses_only_requests_that_man_knows(manual: Path) -> None:
    text = manual.read_text()
    assert set(re.findall(r"^[.'](\w+)", text, re.MULTILINE)) <= REQUESTS
    assert set(re.findall(r"\\(?:f.|\(..|.)", text.split("\n", 1)[1])) <= ESCAPES
    assert text.isascii()
    assert text.count(".nf") == text.count(".fi") and text.count(".RS") == text.count(".RE")


@pytest.mark.parametrize("manual", MANUALS, ids=name)
def test_man_and_groff_accept_a_manual(manual: Path) -> None:
    """Where they are; the test above is what holds without them."""
    commands = [["groff", "-ww", "-man", "-Tutf8", str(manual)], ["man", "--warnings", "-l", str(manual)]]
    for command in commands:
        if shutil.which(command[0]):
            environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANPAGER": "cat"}
            run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("picture", PICTURES, ids=name)
def test_a_picture_is_whole_and_says_what_it_shows(picture: Path) -> None:
    root = ElementTree.parse(picture).getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{space}svg" and root.get("viewBox") and root.get("role") == "img"
    for element in ("title", "desc"):
        found = root.find(f"{space}{element}")
        assert found is not None and (found.text or "").strip()
    ids = {each.get("id") for each in root.iter()}
    assert set(re.findall(r"url\(#([\w-]+)\)", picture.read_text())) <= ids
