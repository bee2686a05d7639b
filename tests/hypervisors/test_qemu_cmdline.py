"""Command lines against golden files: one word a line, so that a change is read as one.

``WIRT_GOLDEN=write`` writes them anew; then read the difference before believing it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirt.hypervisors.qemu.cmdline import Handles, command_line, preview_handles, quoted
from wirt.model.devices import PortForward

from .qemu_plans import CONFIGS, plan

GOLDEN = Path(__file__).parent / "qemu" / "golden"
BINARY = "qemu-system-x86_64"
DIRECTORY = "/run/wirt/domains/a,b"


@pytest.mark.parametrize("name", CONFIGS)
def test_a_command_line_is_what_its_golden_file_says(name: str) -> None:
    made = plan(name)
    words = command_line(made, BINARY, DIRECTORY, preview_handles(made))
    # A word is a line, so the lines inside of words are escaped; nothing else is.
    text = "".join(word.replace("\\", "\\\\").replace("\n", "\\n") + "\n" for word in words)
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("WIRT_GOLDEN") == "write":
        golden.write_text(text)
    assert text == golden.read_text(), f"if that is meant: WIRT_GOLDEN=write pytest {__file__}"


def test_no_golden_file_is_without_its_plan() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(CONFIGS)


def test_taps_and_forwards_are_the_ones_that_were_plugged() -> None:
    handles = Handles(
        control=20, events=21, console=22, taps=((0, 30), (1, 31), (3, 33)), forwards=((2, (PORT_22,)),)
    )
    words = command_line(plan("bridged-cards"), BINARY, DIRECTORY, handles)
    netdevs = list(values(words, "-netdev"))
    assert netdevs == [
        "tap,id=vif0,fd=30",
        "tap,id=vif1,fd=31",
        "user,id=vif2,hostfwd=tcp:127.0.0.1:4022-:22",
        "tap,id=vif3,fd=33",
    ]


PORT_22 = PortForward("tcp", 22, 4022)


def test_a_directly_booted_guest_has_no_boot_order() -> None:
    """QEMU ends at once when a disk claims the place of the kernel."""
    for name in ("xvd-disks", "block-devices", "bridged-cards"):
        made = plan(name)
        assert not any("bootindex" in word for word in command_line(made, BINARY, "/d", preview_handles(made)))


@pytest.mark.parametrize("text", ["", "plain", "a,b", ",,", "a=b,c=d", "x\ny"])
def test_quoting_keeps_a_value_one_value(text: str) -> None:
    assert quoted(text).replace(",,", "") == text.replace(",", "")
    assert quoted(text).count(",") == 2 * text.count(",")


def test_paths_reach_qemu_unharmed_through_json() -> None:
    made = plan("commas-quotes-newlines")
    words = command_line(made, BINARY, "/d", preview_handles(made))
    node = json.loads(next(values(words, "-blockdev")))
    assert node["file"]["filename"] == made.disks[0].path


def values(words: tuple[str, ...], option: str) -> Iterator[str]:
    return (words[place + 1] for place, word in enumerate(words) if word == option)
