"""What is done inside the jail: ``python -m wirt.storage.appliances.worker ORDER``, an :class:`Order` in JSON.

Files are handed over open. It prints one JSON object a line: ``{"share"}`` for progress, and at the end
``{"appliance"}``, ``{"done": true}`` or ``{"error", "hint"}``. No deadline is its own: the jail is ended as a
whole."""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import asdict, dataclass

from wirt.model.errors import BadInput, WirtError
from wirt.model.storage import ImageFormat
from wirt.storage.appliances.contents import check, open_contents
from wirt.storage.appliances.nbd import serve
from wirt.storage.appliances.slices import Slice

SCAN, CHECK, SERVE = "scan", "check", "serve"


@dataclass(frozen=True, slots=True)
class Order:
    """``files`` are descriptors by name, the first the one that was handed in. ``disk`` and ``link``: which
    disk is served, through which socket. ``machine``: which of several is meant."""

    do: str
    files: dict[str, int]
    format: str = ""
    probing: bool = True
    disk: int = 0
    link: int = -1
    machine: str = ""


def main(text: str) -> int:
    try:
        _do(Order(**json.loads(text)))
    except WirtError as error:
        _say(error=error.message, hint=error.hint)
        return 1
    except (OSError, MemoryError, RecursionError) as error:
        _say(
            error=f"it can't be read: {error.strerror if isinstance(error, OSError) else 'it is too large'}",
            hint=None,
        )
        return 1
    return 0


def _do(order: Order) -> None:
    tell = _Teller()
    files = {name: Slice(fd, 0, os.fstat(fd).st_size) for name, fd in order.files.items()}
    sure = ImageFormat(order.format) if order.format else None
    main = next(iter(files))
    contents = open_contents(files, main, tell, sure=sure, probing=order.probing, machine=order.machine)
    if order.do == SCAN:
        _say(appliance=asdict(contents.appliance))
        return
    if order.do == CHECK:
        check(contents, tell, whole=not order.machine)
    else:
        disk = contents.disks[order.disk]
        if disk is None:
            raise BadInput("nothing comes with this disk")
        with socket.socket(fileno=order.link) as link:
            serve(disk, link)
    _say(done=True)


class _Teller:
    """Tells no share twice."""

    def __init__(self) -> None:
        self._told = -1.0

    def __call__(self, share: float) -> None:
        share = round(share, 3)
        if share != self._told:
            self._told = share
            _say(share=share)


def _say(**words: object) -> None:
    print(json.dumps(words), flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
