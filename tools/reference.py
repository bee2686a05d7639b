"""Writes the reference pages and the manual pages from what the program itself knows.

::

    .venv/bin/python tools/reference.py            write docs/reference/*.md and docs/man/*
    .venv/bin/python tools/reference.py --check    say which are stale; exit code 1 if any is

Each page is a list of blocks, made from wirt's own tables (verbs, keys, settings, routes, errors) and drawn as
Markdown or as roff (man(7)). Nothing is told twice: a sentence that is missing here is missing there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.manual.api import api_page
from tools.manual.blocks import MADE_BY, markdown, roff
from tools.manual.commands import commands_manual, commands_page
from tools.manual.daemon import daemon_manual, settings_page
from tools.manual.errors import errors_page
from tools.manual.keys import keys_manual

from wirt.config.xlcfg import reference_markdown

ROOT = Path(__file__).resolve().parents[1]


def pages() -> dict[str, str]:
    """Every page: its path from the root of the checkout, and its text."""
    return {
        "docs/reference/commands.md": markdown("Commands", commands_page()),
        "docs/reference/keys.md": f"<!-- {MADE_BY} -->\n\n{reference_markdown()}",
        "docs/reference/settings.md": markdown("Settings of wirtd", settings_page()),
        "docs/reference/api.md": markdown("The API", api_page()),
        "docs/reference/errors.md": markdown("Errors", errors_page()),
        "docs/man/wirt.1": roff("wirt", "1", "run virtual machines the way Xen does", commands_manual()),
        "docs/man/wirtd.8": roff("wirtd", "8", "the daemon behind wirt", daemon_manual()),
        "docs/man/wirt.cfg.5": roff("wirt.cfg", "5", "the configuration of a domain", keys_manual()),
    }


def stale() -> list[str]:
    """The pages whose file says something else, or is not there."""
    return [path for path, text in pages().items() if _read(ROOT / path) != text]


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the reference pages and manual pages.")
    parser.add_argument("--check", action="store_true", help="write nothing; say which are stale")
    check = parser.parse_args().check
    old = stale()
    for path in old:
        if not check:
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(pages()[path])
        print(f"{'stale' if check else 'written'}: {path}")
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main())
