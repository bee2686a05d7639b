"""Run by tests as a user without rights: tries each line of standard input in a jail, and prints what came of
it."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from tests.sandbox.kit import inside, stand_in_plan, started

from wirt.sandbox import HostSandbox


async def main(program: Path) -> None:
    sandbox = HostSandbox.here()
    answers = {}
    for line in sys.stdin.read().splitlines():
        with tempfile.TemporaryDirectory() as place:
            directory = Path(place) / "run"
            directory.mkdir()
            said = await inside(sandbox, stand_in_plan(sandbox, program, directory), *line.split())
            answers[line] = [said.status, said.text]
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "run"
        directory.mkdir()
        async with started(sandbox, stand_in_plan(sandbox, program, directory), ["wait"]) as run:
            sandbox.allow_file_bytes(run.pid, 1 << 30)
    claims = {claim.name: claim.holds for claim in await sandbox.claims()}
    print(json.dumps({"answers": answers, "claims": claims}))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
