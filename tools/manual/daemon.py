"""The daemon and its settings."""

from __future__ import annotations

from collections.abc import Iterator

from tools.manual.blocks import Block, Code, Heading, Table
from tools.manual.commands import meaning, told, words_of
from tools.manual.surroundings import files

from wirt.config.settings import SETTINGS, Setting
from wirt.daemon import main as daemon

WHERE = (
    "`wirtd` reads `wirt.toml` in its home (`/var/lib/wirt` for root, or `$WIRT_HOME`), else "
    "`/etc/wirt/wirt.toml`. The first that is there counts; they are not merged. A variable of the environment "
    "overrules the file. All values are texts in quotes. `wirtd` reads them once, when it starts."
)
EXAMPLE = Code('# /etc/wirt/wirt.toml\nhost           = "berlin"\nbridge-address = "10.220.0.1/24"')
OTHERS = (
    "Users other than root without `WIRT_HOME` have them below `$XDG_DATA_HOME/wirt` (`~/.local/share/wirt`), "
    "and sockets below `$XDG_RUNTIME_DIR/wirt`."
)


def settings_page() -> Iterator[Block]:
    yield WHERE
    yield settings_table()
    yield EXAMPLE
    yield Heading(2, "Files")
    yield files()
    yield OTHERS


def settings_table() -> Block:
    rows = tuple(
        (f"`{s.name}`", f"`{s.variable}`", f"`{s.default}`" if s.default else "", s.help) for s in SETTINGS
    )
    return Table(("setting", "variable", "default", "meaning"), rows)


def daemon_manual() -> Iterator[Block]:
    parser = daemon._parser()
    yield Heading(1, "SYNOPSIS")
    yield Code("wirtd [--background]")
    yield Heading(1, "DESCRIPTION")
    yield parser.description or ""
    yield "Started again, it takes over the guests that run and finishes or undoes the jobs that were under way."
    yield "`wirt`(1) starts it when none runs. Under systemd it is `wirtd.service`."
    yield Heading(1, "OPTIONS")
    yield Table(("word", "meaning"), tuple((words_of(a), meaning(a)) for a in parser._actions if told(a)))
    yield Heading(1, "SETTINGS")
    yield WHERE
    yield Table(("setting", "meaning"), tuple((f"`{s.name}`", _setting(s)) for s in SETTINGS))
    yield EXAMPLE
    yield Heading(1, "FILES")
    yield files()
    yield OTHERS
    yield Heading(1, "SIGNALS")
    yield "`SIGTERM` and `SIGINT` end it. Guests go on."
    yield Heading(1, "SEE ALSO")
    yield "`wirt`(1), `wirt.cfg`(5)"


def _setting(setting: Setting) -> str:
    default = f"; default: {setting.default}" if setting.default else ""
    return f"{setting.help}{default}; variable: `{setting.variable}`"
