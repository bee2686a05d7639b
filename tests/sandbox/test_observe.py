"""The audit's eyes on real processes: what they see, what they say of what they can't, names made to deceive."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from wirt.model.errors import CorruptState
from wirt.plan.jail import Access
from wirt.plan.observed import CAPABILITY_SETS, FileKind, Observed, Planned, PlannedFile
from wirt.sandbox import observe_groups, observe_home, record
from wirt.sandbox.observe import ProcObserver
from wirt.sandbox.observe_rights import started_ticks

SOURCE = Path(__file__).parents[2] / "src"
READY = "print('ready', flush=True); import sys; sys.stdin.read()"


@contextmanager
def process(code: str, *words: str, prefix: tuple[str, ...] = (), **environment: str) -> Iterator[int]:
    """The pid of a Python that has executed ``code`` and waits."""
    child = subprocess.Popen(
        [*prefix, sys.executable, "-c", f"{code}\n{READY}", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], **environment},
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        yield child.pid
    finally:
        child.kill()
        child.communicate(timeout=10)


def seen(pid: int, *known: str) -> Observed:
    found = ProcObserver().observe(pid, started_ticks(pid), known)
    assert found is not None
    return found


def test_a_plain_process_is_seen_whole() -> None:
    with process("") as pid:
        found = seen(pid)
    assert found.unseen == {}
    assert found.program == str(Path(sys.executable).resolve())
    assert found.parents[0][0] == os.getpid()
    assert found.rights is not None
    assert found.rights.uids == {os.getuid()}
    assert set(found.rights.capabilities) == set(CAPABILITY_SETS)
    assert found.namespaces is not None
    assert not any(found.namespaces.values()), "it is in ours"
    assert found.mounts is not None
    assert "/" in {mount.point for mount in found.mounts}
    assert found.limits is not None
    assert set(found.limits) == {"core", "file", "files", "processes", "queues"}
    assert found.core_pattern


def test_what_is_open_is_named_by_kind_access_and_place(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("")
    code = (
        "import os, socket, sys\n"
        "place = sys.argv[1]\n"
        "kept = [os.open(place + '/log', os.O_WRONLY | os.O_APPEND), os.open(place + '/log', os.O_RDWR),\n"
        "    os.open(place, os.O_RDONLY), os.open('/', os.O_PATH), os.memfd_create('mine'), os.eventfd(0),\n"
        "    os.open('/dev/zero', os.O_RDONLY)]\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "one, other = socket.socketpair()\n"
        "netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)\n"
        "netlink.bind((0, 0))\n"
        "unlisted = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)\n"
        "print(listener.getsockname()[1], flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", f"{code}\n{READY}", str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        child.stdout.readline()
        found = seen(child.pid, str(tmp_path / "log"))
    finally:
        child.kill()
        child.communicate(timeout=10)
    assert found.files is not None
    here = {(file.target, file.kind, file.access) for file in found.files}
    assert {
        (f"{tmp_path}/log", FileKind.REGULAR, "append"),
        (f"{tmp_path}/log", FileKind.REGULAR, "read-write"),
        (str(tmp_path), FileKind.DIRECTORY, "read"),
        ("/", FileKind.DIRECTORY, "path"),
        ("/memfd:mine (deleted)", FileKind.MEMORY, "read-write"),
        ("anon_inode:[eventfd]", FileKind.ANONYMOUS, "read-write"),
        ("/dev/zero", FileKind.CHARACTER, "read"),
    } <= here
    assert {file.target for file in found.files if file.same_as} == {f"{tmp_path}/log"}
    assert found.sockets is not None
    sockets = [(each.family, each.name, each.listening) for each in found.sockets]
    assert ("tcp", f"127.0.0.1:{port}", True) in sockets
    assert sockets.count(("unix", "", False)) == 2
    assert ("netlink", "", False) in sockets
    assert ("unknown", "", False) in sockets, "what the kernel lists nowhere is told of all the same"
    assert found.listening is not None
    assert [each.name for each in found.listening] == [f"127.0.0.1:{port}"], "the process's own, of all the host's"


@pytest.mark.parametrize(
    "name", [b"a\nuid 0", b"\x1b[2J", b"\xff\xfe", b"x (deleted)", b"socket:[1]", "\u202e".encode(), b"n" * 255]
)
def test_a_name_made_to_deceive_is_the_name_of_a_file_and_nothing_else(tmp_path: Path, name: bytes) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    Path(os.fsdecode(path)).write_bytes(b"")
    with process(
        "import os, sys; kept = os.open(os.fsencode(sys.argv[1]), os.O_RDONLY)", os.fsdecode(path)
    ) as pid:
        found = seen(pid)
    assert found.files is not None
    assert found.sockets is not None
    assert (os.fsdecode(path), FileKind.REGULAR) in [(file.target, file.kind) for file in found.files]
    assert 1 not in [inode for file in found.files for inode in [file.inode] if file.kind is FileKind.SOCKET]


def test_a_programs_own_name_for_itself_is_not_believed() -> None:
    code = "open('/proc/self/comm', 'w').write('x) S 1 1\\nUid: 5')"
    with process(code) as pid:
        found = seen(pid)
        assert started_ticks(pid) is not None
    assert found.rights is not None
    assert found.rights.uids == {os.getuid()}


def test_one_thread_with_more_rights_than_the_others_counts_for_all() -> None:
    code = (
        "import ctypes, threading, time\n"
        "libc = ctypes.CDLL(None)\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "assert libc.prctl(38, 1, 0, 0, 0) == 0\n"  # PR_SET_NO_NEW_PRIVS, of this thread alone
    )
    with process(code) as pid:
        found = seen(pid)
    assert found.rights is not None
    assert found.rights.threads == 2
    assert not found.rights.no_new_privs


def test_secrets_in_argv_and_environment_are_told_of_without_the_secret() -> None:
    words = ("-vnc", ":0,password=hunter2", "-object", "secret,id=s,data=hunter3", "-append", "quiet passwordless")
    with process("", *words, TOKEN="hunter4") as pid:
        found = seen(pid)
    assert found.secrets is not None
    assert len(found.secrets) == 2
    assert found.environment is not None
    assert "TOKEN" in found.environment
    assert "hunter" not in repr(found)


def test_a_process_that_has_ended_or_whose_number_is_anothers_is_none() -> None:
    with process("") as pid:
        ticks = started_ticks(pid)
        assert ticks is not None
        assert ProcObserver().observe(pid, ticks + 1) is None
        assert ProcObserver().observe(pid, None) is not None
    assert ProcObserver().observe(pid, ticks) is None


def test_a_zombie_has_ended() -> None:
    child = subprocess.Popen(["/bin/true"])
    try:
        deadline = time.monotonic() + 20
        while started_ticks(child.pid) is not None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert ProcObserver().observe(child.pid, None) is None
    finally:
        child.wait()


@pytest.mark.root
def test_what_this_user_has_no_right_to_see_is_said_with_the_reason() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to be two users: sudo make test")
    if not all(each.stat().st_mode & 0o001 for each in (*SOURCE.parents, SOURCE, SOURCE / "wirt")):
        pytest.skip(f"needs {SOURCE} to be within other users' reach: put the project elsewhere")
    code = (
        "import json, sys\n"
        "from wirt.sandbox.observe import ProcObserver\n"
        "found = ProcObserver().observe(int(sys.argv[1]), None)\n"
        "print(json.dumps([dict(found.unseen), found.files is None, found.rights is not None]))\n"
    )
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")
    with process("") as pid:
        done = subprocess.run(
            [*nobody, sys.executable, "-c", code, str(pid)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"},
        )
    if "Permission denied" in done.stderr:
        pytest.skip("needs this Python to be within other users' reach")
    assert done.returncode == 0, done.stderr
    unseen, no_files, rights = json.loads(done.stdout)
    assert {"files", "sockets", "environment", "namespaces", "program"} <= set(unseen)
    assert set(unseen.values()) == {"Permission denied"}
    assert (no_files, rights) == (True, True)


def test_control_groups_are_those_of_every_thread_and_their_bounds_the_least_on_the_way_up() -> None:
    found = observe_groups.control_groups(os.getpid())
    assert found, "every process is in some"
    assert all(group.place for group in found)
    own = Path("/proc/self/cgroup").read_text().splitlines()
    assert len({group.controllers for group in found}) <= len(own)


def test_a_bound_is_the_least_of_the_group_and_those_above_it(tmp_path: Path) -> None:
    for path, value in (("a", "100"), ("a/b", "max"), ("a/b/c", "300")):
        (tmp_path / path).mkdir()
        (tmp_path / path / "pids.max").write_text(f"{value}\n")
    assert observe_groups._least(tmp_path / "a/b/c", "pids.max") == 100
    (tmp_path / "a" / "pids.max").write_text("max\n")
    assert observe_groups._least(tmp_path / "a/b/c", "pids.max") == 300
    assert observe_groups._least(tmp_path / "a/b", "pids.max") is None
    (tmp_path / "a" / "pids.max").write_text(f"{0x7FFFFFFFFFFFF000}\n")
    assert observe_groups._least(tmp_path / "a", "pids.max") is None, "version 1's way to say: none"


def test_the_home_is_walked_without_following_links_and_closed_directories_close_what_is_in_them(
    tmp_path: Path,
) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for directory, mode in ((home, 0o755), (home / "log", 0o700), (home / "images", 0o755), (elsewhere, 0o755)):
        directory.mkdir()
        directory.chmod(mode)
    for path, mode in ((home / "log/wirtd.log", 0o644), (home / "state.db", 0o600), (home / "images/k", 0o666)):
        path.write_text("")
        path.chmod(mode)
    (home / "link").symlink_to(elsewhere)
    found = {Path(file.path).name: file for file in observe_home.open_to_others([str(home), str(home / "gone")])}
    assert set(found) == {"home", "wirtd.log", "images", "k"}
    assert not found["wirtd.log"].reachable
    assert found["k"].reachable
    assert found["k"].writable
    assert found["home"].mode == 0o755


PLANNED = Planned(
    jailed=True,
    program="/usr/bin/qemu",
    uid=None,
    groups=(5,),
    visible=("/usr/lib", "/disks/\udcff\n"),
    devices=("/dev/null",),
    handed=(PlannedFile("/disks/root", Access.WRITE), PlannedFile("/log", Access.APPEND)),
    directory="/run/7",
    private_network=False,
    memory_bytes=1,
    processes=2,
    open_files=3,
    file_bytes=4,
    core_bytes=5,
    control_groups=("/cg/x",),
    weaker=("it has a user-mode card",),
)


def test_the_jail_that_was_built_is_read_back_as_it_was_written_and_is_nobody_elses(tmp_path: Path) -> None:
    assert record.read(tmp_path) is None
    record.write(tmp_path, PLANNED)
    assert record.read(tmp_path) == PLANNED
    assert (tmp_path / record.FILE).stat().st_mode & 0o777 == 0o600
    record.write(tmp_path, replace(PLANNED, uid=7))
    assert record.read(tmp_path) == replace(PLANNED, uid=7)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"v": 1}', '{"v": 1, "handed": [1]}', "\x00" * 100])
def test_a_record_that_can_not_be_understood_is_an_error_and_no_open_jail(tmp_path: Path, text: str) -> None:
    (tmp_path / record.FILE).write_text(text)
    with pytest.raises(CorruptState, match=record.FILE):
        record.read(tmp_path)
