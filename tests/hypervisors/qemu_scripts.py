"""Scripts that stand in for QEMU and misbehave in one way each."""

from __future__ import annotations

import sys
from pathlib import Path

STANDIN = """#!{python} -IS
import os, re, socket, sys, time
if "--version" in sys.argv:  # what it is asked beside any guest
    sys.exit(print("QEMU emulator version 10.0.2"))
if "stdio" in sys.argv:
    sys.exit(1)
with open({pids!r}, "a") as file:
    file.write(f"{{os.getpid()}}\\n")

def listener(name):
    words = " ".join(sys.argv)
    return socket.socket(fileno=int(re.search(f"socket,id={{name}},fd=([0-9]+)", words).group(1)))

def serve(name, answer):
    peer, _ = listener(name).accept()
    peer.sendall(answer)
    return peer

VERSION = b'{{"qemu": {{"micro": 2, "minor": 0, "major": 10}}, "package": ""}}'
GREETING = b'{{"QMP": {{"version": ' + VERSION + b', "capabilities": []}}}}\\n'
{body}
"""


def script(path: Path, body: str) -> str:
    """A shell script at ``path``; its path as a command."""
    path.write_text("#!/bin/sh\n" + body)
    path.chmod(0o755)
    return str(path)


def standin(directory: Path, body: str) -> str:
    """A program that has QEMU's sockets and does ``body``; its process ids go to ``directory/pids``."""
    path = directory / "qemu-standin"
    path.write_text(STANDIN.format(python=sys.executable, pids=str(directory / "pids"), body=body))
    path.chmod(0o755)
    return str(path)


def still_there(directory: Path) -> list[int]:
    """Those of the started stand-ins that have not been ended and reaped."""
    pids = [int(line) for line in (directory / "pids").read_text().split()]
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]
