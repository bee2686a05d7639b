"""What one pass over a configuration gathers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from wirt.config.xlcfg.notice import Notice
from wirt.config.xlcfg.settings import Setting, Settings
from wirt.config.xlcfg.syntax import Source, Text, readable
from wirt.model.domain import GuestType


@dataclass(slots=True)
class Reading:
    """One pass over a configuration. ``moved`` gives the strings that hold relative paths their absolute
    ones. ``pools``: the storage pools that are known."""

    settings: Settings
    cwd: PurePosixPath
    type: GuestType = GuestType.PV
    notices: list[Notice] = field(default_factory=list)
    moved: dict[Text, str] = field(default_factory=dict)
    pools: frozenset[str] = frozenset()

    def notice(self, source: Source, offset: int, message: str, key: str | None) -> None:
        line, column = source.place(offset)
        self.notices.append(Notice(readable(message), key, line, column, source.file))

    def about(self, setting: Setting, message: str) -> None:
        last = setting.chain[-1]
        self.notice(last.source, last.start, message, setting.key)

    def path(self, key: str) -> str | None:
        """The path that ``key`` names, from the current directory if it is relative."""
        node = self.settings.text_node(key)
        return self.absolute(node) if node is not None and node.value else None

    def absolute(self, node: Text) -> str:
        if node.value.startswith("/"):
            return node.value
        path = str(self.cwd / node.value)
        self.moved[node] = path
        return path
