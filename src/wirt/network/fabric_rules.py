"""The rules between networks in the kernel: one table of each home's own (nft(8))."""

from __future__ import annotations

import asyncio
import json
import shutil

from wirt.model.errors import Unavailable
from wirt.plan.networks_rules import canonical, table_name, transaction

_DEADLINE_S = 15.0
_HINT = "apt-get install nftables"


def installed() -> bool:
    return shutil.which("nft") is not None


async def current_rules(tag: str) -> str | None:
    """The table as canonical text; ``None`` if it is not there."""
    if not installed():
        return None
    status, output, reason = await _nft(["-j", "list", "table", "inet", table_name(tag)], b"")
    if status != 0:
        if b"No such file or directory" in reason:
            return None
        raise Unavailable(f"nft does not list its tables: {_first_line(reason)}", hint="run wirtd as root")
    return canonical(json.loads(output))


async def set_rules(rules: str | None, tag: str) -> None:
    """All of it or nothing."""
    status, _, reason = await _nft(["-j", "-f", "-"], transaction(rules, tag).encode())
    if status != 0:
        raise Unavailable(
            f"nft refuses the rules between networks: {_first_line(reason)}",
            hint="the kernel needs nf_tables, nft_masq and nft_ct: modprobe nf_tables",
        )


async def _nft(words: list[str], standard_input: bytes) -> tuple[int, bytes, bytes]:
    try:
        process = await asyncio.create_subprocess_exec(
            "nft",
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise Unavailable("nft is not installed", hint=_HINT) from error
    try:
        output, reason = await asyncio.wait_for(process.communicate(standard_input), _DEADLINE_S)
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise Unavailable(f"nft did not answer within {_DEADLINE_S:.0f} s", hint="try again") from error
    return process.returncode or 0, output, reason


def _first_line(text: bytes) -> str:
    return text.decode(errors="replace").strip().partition("\n")[0] or "no reason given"
