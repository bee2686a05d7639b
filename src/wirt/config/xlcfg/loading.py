"""``load``: the text of an xl.cfg to what it means and to the text that will be stored."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from wirt.config.xlcfg.document import Splice, append, apply, quote, render_node, replace_key
from wirt.config.xlcfg.meaning import read_config
from wirt.config.xlcfg.notice import Notice
from wirt.config.xlcfg.overrides import override, parse_overrides
from wirt.config.xlcfg.reading import Reading
from wirt.config.xlcfg.secrets import refuse_hidden
from wirt.config.xlcfg.settings import Setting, settle
from wirt.config.xlcfg.syntax import Document, Items, Text, Value, parse
from wirt.model.domain import DomainConfig
from wirt.model.errors import BadInput

_UNWRITABLE = re.compile("[\0\n\ud800-\udfff]")
_NOT_UTF8 = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Loaded:
    """``text`` is the canonical xl.cfg: as it was written, with overrides in their places and relative paths
    made absolute. Loading it again, in any directory, gives the same ``config``."""

    config: DomainConfig
    text: str
    notices: tuple[Notice, ...]


def load(
    text: str,
    *,
    file: str,
    cwd: PurePosixPath,
    overrides: Sequence[str] = (),
    name: str | None = None,
    pools: frozenset[str] = frozenset(),
) -> Loaded:
    """What ``text`` means, with ``overrides`` (``key=value``) after it and, if given, another ``name``.

    ``file`` is what errors and notices call the text. Relative paths are taken from ``cwd``, which is absolute;
    disks whose first part is one of ``pools`` are volumes in it.
    Raises :class:`ConfigError` with file, line, column and, where there is one, the key.
    """
    if not cwd.is_absolute():
        raise BadInput(f"the current directory must be absolute, not {cwd}")
    document = parse(text, file=file)
    extra = parse_overrides(overrides)
    if name is not None:
        extra.append(override("name", name))
    settings = settle((*document.assignments, *extra))
    refuse_hidden(settings)
    config, reading = read_config(settings, document.source, cwd, pools)
    _check_directory(cwd, reading)
    return Loaded(config, _canonical(document, settings, reading.moved), tuple(_sorted(reading)))


def _check_directory(cwd: PurePosixPath, reading: Reading) -> None:
    """A directory whose name can't be written down makes no path absolute."""
    bad = _UNWRITABLE.search(str(cwd))
    node = next(iter(reading.moved), None)
    if bad is not None and node is not None:
        message = f"the current directory has {bad.group()!a} in its name, so its paths can't be stored"
        raise node.source.error(node.start, message, hint="write an absolute path")


def _sorted(reading: Reading) -> list[Notice]:
    """In the order of the lines, file by file."""
    files = list(dict.fromkeys(each.file for each in reading.notices))
    return sorted(reading.notices, key=lambda each: (files.index(each.file), each.line or 0, each.column or 0))


def _canonical(document: Document, settings: Mapping[str, Setting], moved: Mapping[Text, str]) -> str:
    splices: list[Splice] = []
    lines: list[str] = []
    in_file = {each.key for each in document.assignments}
    for key, setting in settings.items():
        if not _rewritten(document, setting, moved):
            splices += _moved_splices(setting.value, moved)
        elif key in in_file:
            splices += replace_key(document, key, render_node(setting.value, moved))
        else:
            lines.append(f"{key} = {render_node(setting.value, moved)}")
    # Comments may hold bytes of any encoding; what is stored and sent must be UTF-8.
    return _NOT_UTF8.sub("\ufffd", append(apply(document.text, splices), lines))


def _rewritten(document: Document, setting: Setting, moved: Mapping[Text, str]) -> bool:
    """Whether the whole assignment must be written anew: it has a part from the command line, or a path
    that several assignments make together."""
    if any(each.source is not document.source for each in setting.chain):
        return True
    return isinstance(setting.value, Text) and not setting.value.literal and setting.value in moved


def _moved_splices(value: Value, moved: Mapping[Text, str]) -> list[Splice]:
    if isinstance(value, Items):
        return [splice for item in value.items for splice in _moved_splices(item, moved)]
    return [Splice(value.start, value.end, quote(moved[value]))] if value in moved else []
