"""The whole daemon beside a QEMU that its guest has taken over, and one that is well."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.hypervisors.qemu_scripts import standin
from tests.system.host import Host, a_host, wait_until

from .test_qmp import FLOODS, HONEST

pytestmark = pytest.mark.real

FIRST_ALL_IS_WELL = (
    '"qmp_capabilities", "set-action", "cont", "query-status", "qom-list", "qom-get", '
    '"query-cpus-fast", "query-blockstats", "query-balloon"'
)
"""What wirt asks of every run by itself."""
CONFIG = 'name = "{name}"\ntype = "pvh"\nmemory = 96\nkernel = "{kernel}"\n'


@contextmanager
def host_with(hostile: str, tmp_path: Path) -> Iterator[Host]:
    """A host whose guests are stand-ins: what is called ``evil`` does ``hostile`` when it is asked to stop.
    What wirt wants to know of QEMU a real one tells."""
    real = shutil.which("qemu-system-x86_64")
    if real is None:
        pytest.skip("needs QEMU: make setup (Debian: apt-get install qemu-system-x86)")
    body = HONEST.replace("{{", "{").replace("}}", "}").replace("{hostile}", f"    {hostile}")
    body = body.replace('"qmp_capabilities", "set-action"', FIRST_ALL_IS_WELL)
    program = standin(tmp_path, body)
    wrapper = tmp_path / "qemu"
    wrapper.write_text(
        '#!/bin/sh\ncase "$*" in *"-accel kvm"*) exit 1;; '
        f'*guest=evil*|*guest=good*) exec {program} "$@";; esac\nexec {real} "$@"\n'
    )
    wrapper.chmod(0o755)
    settings = {"WIRT_QEMU": str(wrapper), "WIRT_JAIL": "off"}
    with a_host(tmp_path / "home", tmp_path, environment=settings) as host:
        for name in ("good", "evil"):
            text = CONFIG.format(name=name, kernel=real)  # a file that is there; nobody boots it
            host.ok("create", host.write(f"{name}.cfg", text))
        yield host


def peak_kib(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


OFTEN = ("events that a guest can make", "ends without end")


@pytest.mark.parametrize(
    "how", [*OFTEN, *(pytest.param(h, marks=pytest.mark.long) for h in FLOODS if h not in OFTEN)]
)
def test_a_flooding_qemu_costs_the_daemon_little(how: str, tmp_path: Path) -> None:
    with host_with(FLOODS[how], tmp_path) as host:
        before = peak_kib(host.pid)
        told = host.fails("pause", "evil")
        # One that says that it has ended is ended, and by its configuration started anew.
        assert re.search("evil: QEMU (did not give an answer to stop within 5 s|went away during stop)", told), (
            told
        )
        for _ in range(3):
            assert "good" in host.names()
            host.ok("vcpu-list", "good")
        host.ok("pause", "good")
        host.ok("unpause", "good")
        host.run("destroy", "evil")
        wait_until(lambda: host.names() == ["good"], 30, "evil to be gone")
        assert peak_kib(host.pid) - before < 32 * 1024
        host.ok("destroy", "good")


NONSENSE = {
    "escapes": (
        "say(peer, {'error': {'class': 'GenericError', 'desc': '\\x1b]0;mine\\x07\\r\\n'}, 'id': ask['id']})",
        r"evil: QEMU refused stop: \\x1b\]0;mine\\x07\\x0d\\x0a",
    ),
    "half a surrogate": (
        'peer.sendall(b\'{"error": {"class": "GenericError", "desc": "\\\\ud800"}, "id": "\''
        " + ask['id'].encode() + b'\"}\\n')",
        r"evil: QEMU refused stop: \\ud800",
    ),
    "garbage": (
        "peer.sendall(b'\\x1b[2J\\n')",
        "evil: QEMU is no longer listened to: it said text that is not JSON",
    ),
}


@pytest.mark.parametrize("how", NONSENSE)
def test_a_qemu_that_talks_nonsense_is_told_of_in_plain_words(how: str, tmp_path: Path) -> None:
    hostile, words = NONSENSE[how]
    with host_with(hostile, tmp_path) as host:
        told = host.fails("pause", "evil")
        assert re.search(words, told), told
        assert told.replace("\n", "").isprintable()
        if how == "garbage":
            host.kill9()
            host.start()
        assert sorted(host.names()) == ["evil", "good"]
        host.ok("pause", "good")
        host.ok("destroy", "evil")
        host.ok("destroy", "good")
        for line in host.log.read_text().splitlines():
            assert line.isprintable()


def test_last_words_with_escapes_end_up_printable_everywhere(tmp_path: Path) -> None:
    hostile = "sys.stderr.write('\\x1b[2J\\x9bbye \\u202e\\n'); sys.stderr.flush(); os._exit(200)"
    with host_with(hostile, tmp_path) as host:
        host.fails("pause", "evil")
        wait_until(lambda: host.names() == ["good"], 30, "evil to be gone")
        for words in (("jobs",), ("list", "-v"), ("list", "--all")):
            assert host.ok(*words).out.replace("\n", "").replace("\t", "").isprintable()
        log = host.log.read_text()
        assert "\\x1b[2J" in log
        assert all(line.isprintable() for line in log.splitlines())
        host.ok("destroy", "good")
