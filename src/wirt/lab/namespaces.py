"""Network namespaces (ip-netns(8)) and how to run a command in one."""

from __future__ import annotations

from pathlib import Path

from wirt.lab.commands import run

PLACE = Path("/run/netns")


def entered(namespace: str) -> tuple[str, ...]:
    """The words before a command that is to run there. Not ``ip netns exec``, which gives each command mounts of
    its own: a wirtd would not see those of the one before it, nor the control groups."""
    return ("nsenter", f"--net={PLACE / namespace}")


def make(namespace: str) -> None:
    run("ip", "netns", "add", namespace)
    run("ip", "-n", namespace, "link", "set", "lo", "up")


def remove(namespace: str) -> None:
    """With all devices in it. None there is no error."""
    if (PLACE / namespace).exists():
        run("ip", "netns", "del", namespace)


def existing(namespaces: tuple[str, ...]) -> list[str]:
    return [each for each in namespaces if (PLACE / each).exists()]
