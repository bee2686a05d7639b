"""A guest keeps what it is entitled to, whatever its neighbour does (Matthews et al., ExpCS 2007).

With the limits that every guest has it loses at most 5%; with both in one control group, and the neighbour at
a card without a rate, the harm shows, which proves that the test sees it. ``bench.rigs.bombs`` says how it is
measured. On a machine that others use, a run can lose more to them than to the neighbour, and so can all runs of
half a minute: the median is for ``make test-long`` and ``make bench``, here one run in ten will do.
"""

from __future__ import annotations

from statistics import median

import pytest
from bench.rigs.bombs import BOMBS, CACHE, MEMORY, Bomb, shell
from bench.rigs.neighbours import Pair

pytestmark = [pytest.mark.root, pytest.mark.real]

ENTITLED = 0.95
RUNS, TRIES = 5, 10
QUICK = ("cpu", "disk", "send")
"""One for each thing that is shared; the others are in ``make test-long``."""


def named(bomb: Bomb) -> str:
    return bomb.name


@pytest.mark.parametrize("bomb", [bomb for bomb in BOMBS if bomb.name in QUICK], ids=named)
def test_a_guest_can_keep_all_but_a_twentieth_beside_its_neighbour_and_loses_more_where_limits_are_off(
    pair: Pair, bomb: Bomb
) -> None:
    shares: list[float] = []
    while len(shares) < TRIES and max(shares, default=0.0) < ENTITLED:
        shares.append(bomb.share(pair, True))
    assert max(shares) >= ENTITLED, f"beside {bomb.what}, the victim never has more of its due than {shares}"
    harmed: list[float] = []
    while len(harmed) < TRIES and min(harmed, default=1.0) >= bomb.harm:
        harmed.append(bomb.share(pair, False))
    assert min(harmed) < bomb.harm, f"without limits it has {harmed} of it: this test sees nothing"


def test_a_guest_without_memory_left_costs_the_host_no_more_than_its_limit_and_lives_on(pair: Pair) -> None:
    with shell(pair, MEMORY):
        pair.bomb.ask("stat")
    assert pair.group.used_bytes(pair.bombs_own) <= pair.group.limit_bytes(pair.bombs_own)
    assert int(pair.bomb.ask("stat")["mem_available_kb"]) > 0


@pytest.mark.long
@pytest.mark.parametrize("bomb", (*BOMBS, CACHE), ids=named)
def test_it_is_so_in_the_median_of_many_runs(pair: Pair, bomb: Bomb) -> None:
    runs = [(bomb.share(pair, True), bomb.share(pair, False)) for _ in range(RUNS)]
    assert median(kept for kept, _ in runs) >= ENTITLED, runs
    assert median(without for _, without in runs) < bomb.harm, runs
