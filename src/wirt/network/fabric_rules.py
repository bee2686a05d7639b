"""The rules between networks in the kernel: one table of each home's own (nft(8))."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence

from wirt.model.errors import Unavailable
from wirt.network.nft import run_nft
from wirt.plan.networks_rules import canonical, table_name, transaction
from wirt.ports.process import Finished

_HINT = "apt-get install nftables"


def installed() -> bool:
    return shutil.which("nft") is not None


async def current_rules(tag: str) -> str | None:
    """The table as canonical text; ``None`` if it is not there."""
    if not installed():
        return None
    ended = await _nft(("-j", "list", "table", "inet", table_name(tag)))
    if ended.code:
        if b"No such file or directory" in ended.said:
            return None
        raise Unavailable(f"nft does not list its tables: {_first_line(ended.said)}", hint="run wirtd as root")
    return canonical(json.loads(ended.out))


async def set_rules(rules: str | None, tag: str) -> None:
    """All of it or nothing."""
    ended = await _nft(("-j", "-f", "-"), transaction(rules, tag))
    if ended.code:
        raise Unavailable(
            f"nft refuses the rules between networks: {_first_line(ended.said)}",
            hint="the kernel needs nf_tables, nft_masq and nft_ct: modprobe nf_tables",
        )


async def _nft(words: Sequence[str], text: str = "") -> Finished:
    try:
        return await run_nft(words, text)
    except FileNotFoundError as error:
        raise Unavailable("nft is not installed", hint=_HINT) from error


def _first_line(text: bytes) -> str:
    return text.decode(errors="replace").strip().partition("\n")[0] or "no reason given"
