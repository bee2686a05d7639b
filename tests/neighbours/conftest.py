from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from bench.rigs import neighbours
from bench.rigs.absence import NotHere
from bench.rigs.neighbours import Pair
from bench.rigs.workshop import Workshop


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A victim and its neighbour; this thread is in their network namespace meanwhile. What other tests have left
    to be written is written first: it would go on below the disks of these two."""
    os.sync()
    with ExitStack() as stack:
        try:
            made = stack.enter_context(neighbours.pair(stack.enter_context(Workshop())))
        except NotHere as missing:
            pytest.skip(str(missing))
        yield made
