"""Whatever people, guests, faults and crashes do in whatever order: afterwards every record has its run, every run
its record, and no domain ever ran twice at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.simulation.host import Life

FEW = range(25)
MANY = range(25, 1500)
ONE = os.environ.get("WIRT_SEED")


async def live(directory: Path, seed: int, moves: int) -> None:
    life = Life(directory, seed)
    try:
        await life.live(moves)
    except BaseException:
        print(f"seed {seed} (again: WIRT_SEED={seed} make simulate)", *life.log, sep="\n")
        raise


@pytest.mark.parametrize("seed", [int(ONE)] if ONE else FEW)
async def test_a_host_stays_consistent_through_a_random_life(tmp_path: Path, seed: int) -> None:
    await live(tmp_path, seed, 60)


@pytest.mark.long
@pytest.mark.parametrize("seed", MANY)
async def test_many_hosts_stay_consistent_through_long_random_lives(tmp_path: Path, seed: int) -> None:
    await live(tmp_path, seed, 200)
