"""What commands and daemon share: exit codes, environment, files."""

from __future__ import annotations

from tools.manual.blocks import Block, Table

from wirt.wire.home import find_home


def exit_codes() -> Block:
    return Table(
        ("code", "meaning"),
        (
            ("0", "done"),
            ("1", "the operation failed"),
            ("2", "the command line was wrong"),
            ("130", "stopped with Ctrl-C"),
            ("141", "nobody reads standard output any more"),
        ),
    )


def environment() -> Block:
    rows = (
        ("`WIRT_HOME`", "a directory for everything that belongs to one host; several hosts fit on one machine"),
        ("`WIRT_NO_AUTOSTART`", "set to 1: a command that finds no wirtd fails instead of starting one"),
        ("`WIRT_LAB_HOST`", "set by `wirt lab`: the home of the lab's host that a process belongs to"),
        ("`WIRT_DEBUG`", "set to 1: a fault in wirt shows where it happened"),
    )
    return Table(("variable", "meaning"), rows)


def files() -> Block:
    """Where things are, for root and below ``WIRT_HOME``."""
    root, chosen = find_home({}, 0), find_home({"WIRT_HOME": "/H"}, 0)
    what = {
        "state": "all that survives a boot",
        "store": "domains and jobs",
        "log": "what wirtd says",
        "images": "images that wirt built",
        "dumps": "memory of crashed guests, from coredump-destroy and coredump-restart",
        "cache": "downloads, and the answer of the KVM probe",
        "run": "what a boot may clear",
        "socket": "the API",
        "lock": "the daemon's process ID; locked while it lives",
        "domains": "a directory for each run, named by its domain ID: sockets and logs",
    }
    rows = tuple(
        (f"`{getattr(root, name)}`", f"`{getattr(chosen, name).replace('/H', '$WIRT_HOME')}`", text)
        for name, text in what.items()
    )
    return Table(("for root", "with WIRT_HOME", "what"), rows)
