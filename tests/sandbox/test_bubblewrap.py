"""bwrap's command lines against golden files: one word a line. ``WIRT_GOLDEN=write`` writes them anew."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from wirt.plan.jail import JailPlan, Limits, Uids
from wirt.sandbox.bubblewrap import Ends, Tools, command_line

GOLDEN = Path(__file__).parent / "golden"
TOOLS = Tools("/usr/bin/bwrap", "/usr/bin/setpriv", (("/lib", "usr/lib"), ("/lib64", "usr/lib64")))
QEMU = "/usr/bin/qemu-system-x86_64"
PLAN = JailPlan(
    name="web-7",
    directory="/run/wirt/runs/7",
    program=QEMU,
    uids=Uids(1000, 10, 7),
    groups=(),
    shown=("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/share/qemu", "/boot/vmlinuz"),
    copied=(),
    devices=("/dev/null", "/dev/urandom"),
    handed=(),
    private_network=True,
    limits=Limits(1 << 30, 100, 1024, 1 << 30),
)
ENDS = Ends(status=20, gate=21, filter=22)
ARGV = (QEMU, "-name", "guest=a b,,c")

CASES: dict[str, tuple[JailPlan, int | None, Ends]] = {
    "root": (PLAN, 1007, ENDS),
    "rootless": (replace(PLAN, uids=None), None, ENDS),
    "user-mode-network": (replace(PLAN, private_network=False), 1007, ENDS),
    "kvm-node": (replace(PLAN, devices=("/dev/null", "/dev/kvm"), groups=(104,)), 1007, ENDS),
    "copied-kernel": (
        replace(PLAN, copied=("/root/a kernel",)),
        1007,
        replace(ENDS, copies={"/root/a kernel": 23}),
    ),
    "no-filter": (PLAN, 1007, replace(ENDS, filter=None)),
    "nested": (replace(PLAN, shown=(*PLAN.shown, "/usr/share/qemu/bios.bin", "/lib/modules")), 1007, ENDS),
}


@pytest.mark.parametrize("name", CASES)
def test_a_jail_is_what_its_golden_file_says(name: str) -> None:
    plan, uid, ends = CASES[name]
    text = "".join(word + "\n" for word in command_line(plan, ARGV, uid, TOOLS, ends))
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("WIRT_GOLDEN") == "write":
        golden.write_text(text)
    assert text == golden.read_text(), f"if that is meant: WIRT_GOLDEN=write pytest {__file__}"


def test_no_golden_file_is_without_its_case() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_nothing_ties_the_guest_to_the_daemon_and_nothing_of_the_host_can_be_written(name: str) -> None:
    plan, uid, ends = CASES[name]
    words = command_line(plan, ARGV, uid, TOOLS, ends)
    own = words[: words.index("--")]
    assert "--die-with-parent" not in own
    assert not {"--bind", "--bind-try", "--proc", "--dev", "--share-net"} & set(own)
    assert own.index("--remount-ro") > max(i for i, word in enumerate(own) if word.startswith("--ro-bind"))
