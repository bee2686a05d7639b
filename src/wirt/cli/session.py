"""What one run of ``wirt`` shares: how it prints, and the client, made when first needed."""

from __future__ import annotations

import os
import sys

from wirt.cli.text import printable, printable_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wirt.client.api import Api
    from wirt.client.errors import ClientError

API = "v1"


class Session:
    """Results go to standard output, all else to standard error. With ``-o json`` standard output carries
    exactly one JSON document, also when the command fails."""

    def __init__(self) -> None:
        self.json = False
        self.documented = False
        self._api: Api | None = None

    @property
    def api(self) -> Api:
        if self._api is None:
            from wirt.client.api import Api
            from wirt.wire.home import find_home

            self._api = Api(find_home(os.environ, os.geteuid()), os.environ, self.say)
        return self._api

    def write(self, text: str) -> None:
        """Formatted text, whose parts have been made printable."""
        sys.stdout.write(text)

    def document(self, value: object) -> None:
        """The JSON document of this run. ASCII only, so nothing in it can steer a terminal."""
        from json import dumps

        self.documented = True
        sys.stdout.write(dumps(value, indent=2).replace("\x7f", "\\u007f") + "\n")

    def json_line(self, value: object) -> None:
        """One of many documents, for what has no end."""
        from json import dumps

        self.documented = True
        sys.stdout.write(dumps(value).replace("\x7f", "\\u007f") + "\n")
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """One line for people."""
        _tell(printable(text) + "\n")

    def complain(self, error: ClientError) -> None:
        """``wirt: PLACE: key: MESSAGE`` and a hint below it."""
        parts = (getattr(error, "place", ""), getattr(error, "key", None), error.message)
        text = _indented("wirt: " + ": ".join(part for part in parts if part), 2)
        if error.hint:
            text += _indented(f"  hint: {error.hint}", 8)
        _tell(text)


def _indented(text: str, indent: int) -> str:
    """Lines after the first, such as a hypervisor's last words, stand below it."""
    return ("\n" + " " * indent).join(printable_lines(text.strip("\n")).split("\n")) + "\n"


def _tell(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(text)
    sys.stderr.flush()
