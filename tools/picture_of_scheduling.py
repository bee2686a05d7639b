"""Draws docs/scheduling.svg: guests on a small machine, before and after a plan.

::

    .venv/bin/python tools/picture_of_scheduling.py            write it
    .venv/bin/python tools/picture_of_scheduling.py --check    say whether it is fresh; exit code 1 if not

What it shows is what the planner says of that machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from wirt.model.topology import Cpu, Node, Topology
from wirt.plan.distribute import Distribution, Guest, Load, Move, Vcpu, distribute

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "scheduling.svg"
WIDTH, HEIGHT = 880, 400
CPU_WIDTH, BAR = 40, 84
"""Pixels of a CPU, and of one CPU's time."""
PANEL = 424
STYLE = """
    .sheet { fill: #ffffff; stroke: #c9d1d9; }
    .node { fill: none; stroke: #57606a; stroke-dasharray: 6 4; }
    .core { fill: #f6f8fa; stroke: #8c959f; }
    .all { stroke: #c2315a; stroke-width: 1.5; stroke-dasharray: 3 3; }
    .web { fill: #9cc4f0; stroke: #2f6fb3; }
    .db { fill: #f0c68a; stroke: #b7791f; }
    .batch { fill: #a5d6ad; stroke: #3f8f4f; }
    .name { fill: #1f2328; font-size: 15px; font-weight: 600; text-anchor: middle; }
    .small { fill: #444c56; font-size: 12px; text-anchor: middle; }
    .left { fill: #444c56; font-size: 12px; text-anchor: start; }
    .in { fill: #1f2328; font-size: 10px; text-anchor: middle; }
    @media (prefers-color-scheme: dark) {
      .sheet { fill: #0d1117; stroke: #30363d; }
      .node { stroke: #8c959f; }
      .core { fill: #161b22; stroke: #6e7681; }
      .all { stroke: #ff7b9c; }
      .web { fill: #1c4470; stroke: #58a6ff; }
      .db { fill: #5a4313; stroke: #d29922; }
      .batch { fill: #1d4a29; stroke: #56b06a; }
      .name, .in { fill: #e6edf3; }
      .small, .left { fill: #b1bac4; }
    }"""


def machine() -> Topology:
    """Two nodes, each with two cores of two threads."""
    cpus = []
    for number in range(8):
        core, node = number // 2 * 2, number // 4
        cpus.append(Cpu(number, core, (core, core + 1), node, node * 4, node))
    return Topology(tuple(cpus), (Node(0, 1 << 30, 0, {0: 10, 1: 21}), Node(1, 1 << 30, 0, {0: 21, 1: 10})))


def crowded() -> Load:
    guests = (
        Guest("web", (Vcpu(0.5, 0.5, cpu=0), Vcpu(0.5, 0.5, cpu=0)), memory={0: 1 << 30}),
        Guest("db", (Vcpu(0.3, cpu=4),), weight=512, memory={1: 1 << 30}),
        Guest("batch", (Vcpu(0.6, cpu=4), Vcpu(0.6, cpu=5)), memory={1: 1 << 30}),
    )
    return Load(machine(), guests)


def seats(load: Load, moves: Sequence[Move] = ()) -> Mapping[int, list[tuple[str, int, float]]]:
    """Who is on each CPU, with what he asks for."""
    moved = {(move.guest, move.vcpu): move.target for move in moves}
    found: dict[int, list[tuple[str, int, float]]] = {cpu.id: [] for cpu in load.topology.cpus}
    for guest in load.guests:
        for number, vcpu in enumerate(guest.vcpus):
            at = moved.get((guest.name, number), vcpu.cpu)
            assert at is not None
            found[at].append((guest.name, number, vcpu.demand))
    return found


def panel(left: int, title: str, on: Mapping[int, list[tuple[str, int, float]]]) -> Iterator[str]:
    yield f'  <text class="name" x="{left + PANEL // 2}" y="32">{title}</text>'
    for node in range(2):
        at = left + 8 + node * 208
        yield f'  <rect class="node" x="{at}" y="48" width="200" height="236" rx="8"/>'
        yield f'  <text class="small" x="{at + 100}" y="276">node {node}</text>'
        for core in range(2):
            x = at + 8 + core * 94
            yield f'  <rect class="core" x="{x}" y="58" width="{2 * CPU_WIDTH + 10}" height="200" rx="5"/>'
            for thread in range(2):
                cpu = node * 4 + core * 2 + thread
                yield from column(x + 3 + thread * (CPU_WIDTH + 4), cpu, on[cpu])
    yield f'  <line class="all" x1="{left + 8}" x2="{left + 416}" y1="{240 - BAR}" y2="{240 - BAR}"/>'


def column(x: int, cpu: int, vcpus: Sequence[tuple[str, int, float]]) -> Iterator[str]:
    yield f'  <text class="in" x="{x + CPU_WIDTH // 2}" y="253">CPU {cpu}</text>'
    foot = 240.0
    for name, number, demand in vcpus:
        height = round(demand * BAR, 1)
        foot -= height
        yield f'  <rect class="{name}" x="{x}" y="{foot:.1f}" width="{CPU_WIDTH}" height="{height}"/>'
        middle = foot + height / 2 + 4
        yield f'  <text class="in" x="{x + CPU_WIDTH // 2}" y="{middle:.1f}">{name} {number}</text>'


def lines(plan: Distribution) -> Iterator[str]:
    waited, waits = plan.before.waiting, plan.after.waiting
    yield f"Before, {waited:.1f} CPUs' worth of work waits, after it {waits:.1f}. Each move has its reason:"
    for move in plan.moves:
        yield f"{move.guest}, vCPU {move.vcpu}, from CPU {move.source} to {move.target}: {move.reason}"


def picture() -> str:
    load = crowded()
    plan = distribute(load)
    said = list(lines(plan))
    about = (
        "A machine of two nodes, each with two cores of two threads. Before: two vCPUs of web are on one CPU, "
        "those of batch and db on one core, and two cores idle. After: all cores work. " + " ".join(said)
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        "font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\">",
        "  <title>Guests on the CPUs of a machine, before and after a plan</title>",
        f"  <desc>{escape(about)}</desc>",
        f"  <style>{STYLE}\n  </style>",
        f'  <rect class="sheet" x="1" y="1" width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="10"/>',
        *panel(12, "before", seats(load)),
        *panel(444, "after", seats(load, plan.moves)),
        *(
            f'  <text class="left" x="20" y="{310 + 18 * row}">{escape(line)}</text>'
            for row, line in enumerate(("The red line is all of a CPU's time: what is above it waits.", *said))
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="say whether the picture is fresh, and write nothing")
    if parser.parse_args().check:
        fresh = PICTURE.exists() and PICTURE.read_text() == picture()
        print(f"{PICTURE.name} is {'fresh' if fresh else 'stale'}")
        return 0 if fresh else 1
    PICTURE.write_text(picture())
    return 0


if __name__ == "__main__":
    sys.exit(main())
