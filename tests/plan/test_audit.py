"""The audit's comparison: a jail that is as planned is clean, and each single deviation is named, alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from wirt.model.devices import VifKind
from wirt.plan.audit import Audit, Card, Cards, CardSeen, audit, audit_home, audit_unseen
from wirt.plan.audit_rights import CAPABILITIES, capability_names
from wirt.plan.findings import Verdict, few
from wirt.plan.jail import Access
from wirt.plan.observed import (
    CAPABILITY_SETS,
    ControlGroup,
    FileKind,
    HomeFile,
    Limit,
    Mount,
    Observed,
    OpenFile,
    OpenSocket,
    Planned,
    PlannedFile,
    Rights,
)

UID = 1_900_000_007
RUN = "/home/run/domains/7"
PLANNED = Planned(
    jailed=True,
    program="/usr/bin/qemu",
    uid=UID,
    groups=(),
    visible=("/usr/lib", "/usr/bin/qemu", "/boot/vmlinuz"),
    devices=("/dev/null", "/dev/urandom"),
    handed=(
        PlannedFile(f"{RUN}/events.log", Access.APPEND),
        PlannedFile(f"{RUN}/console.log", Access.APPEND),
        PlannedFile("/disks/root.qcow2", Access.WRITE),
        PlannedFile("/disks/base.qcow2", Access.READ),
    ),
    directory=RUN,
    private_network=True,
    memory_bytes=512 << 20,
    processes=129,
    open_files=1024,
    file_bytes=1 << 30,
    core_bytes=1,
    control_groups=("/cg/memory/wirt/x", "/cg/pids/wirt/x", "/cg/devices/wirt/x"),
    device_rules=("c 1:3 rwm", "c 1:9 r"),
    filters=2,
)
RIGHTS = Rights(
    threads=3,
    uids=frozenset({UID}),
    gids=frozenset({UID}),
    groups=frozenset(),
    capabilities=dict.fromkeys(CAPABILITY_SETS, 0),
    no_new_privs=True,
    seccomp_modes=frozenset({2}),
    filters=2,
)
FILES = (
    OpenFile(0, "/dev/null", FileKind.CHARACTER, "read-write"),
    OpenFile(1, f"{RUN}/qemu.log", FileKind.REGULAR, "write"),
    OpenFile(3, "anon_inode:[eventfd]", FileKind.ANONYMOUS, "read-write"),
    OpenFile(4, "/dev/net/tun", FileKind.CHARACTER, "read-write", tap="vif7.0"),
    OpenFile(5, f"{RUN}/console.log", FileKind.REGULAR, "append"),
    OpenFile(6, "/disks/root.qcow2", FileKind.REGULAR, "read-write"),
    OpenFile(7, "/disks/base.qcow2", FileKind.REGULAR, "read"),
    OpenFile(8, "socket:[77]", FileKind.SOCKET, "read-write", 77),
)
GROUPS = (
    ControlGroup(("devices",), "/cg/devices/wirt/x", devices=("c 1:3 rwm", "c 1:9 r")),
    ControlGroup(("memory",), "/cg/memory/wirt/x", frozenset({"memory"}), memory_bytes=512 << 20),
    ControlGroup(("pids",), "/cg/pids/wirt/x", frozenset({"pids"}), processes=129),
)
LIMITS = {
    "core": Limit(1, 1),
    "file": Limit(1 << 30, None),
    "files": Limit(1024, 1024),
    "processes": Limit(129, 129),
    "queues": Limit(0, 0),
}
SEEN = Observed(
    pid=42,
    program="/usr/bin/qemu",
    parents=((41, "bwrap"), (1, "init")),
    rights=RIGHTS,
    namespaces={
        kind: kind not in ("user", "time") for kind in ("cgroup", "ipc", "mnt", "net", "pid", "time", "uts")
    }
    | {"user": False},
    mounts=(
        Mount("/", False, "tmpfs"),
        Mount("/usr/lib", False, "ext4"),
        Mount("/usr/lib/sub", False, "ext4"),
        Mount("/usr/bin/qemu", False, "ext4"),
        Mount("/dev/null", True, "devtmpfs"),
    ),
    files=FILES,
    sockets=(OpenSocket("unix", "/proc/self/fd/9/control.sock", True, (8,)),),
    listening=(),
    network_devices=("lo",),
    control_groups=GROUPS,
    limits=LIMITS,
    core_pattern="core",
    environment=("PWD",),
    secrets=(),
)
CARDS = Cards((Card(0, VifKind.BRIDGE, "vif7.0", "br0"),), (CardSeen("vif7.0", "br0", True),))


def wide(result: Audit) -> set[str]:
    return {finding.what for finding in result.findings if finding.verdict is Verdict.WIDER}


def test_a_jail_that_is_as_planned_is_clean() -> None:
    result = audit(PLANNED, SEEN, CARDS)
    assert result.verdict is Verdict.OK
    assert result.sentence == "as it should be"
    assert not [finding for finding in result.findings if finding.verdict is not Verdict.OK]


def rights(**changes: Any) -> Observed:
    return replace(SEEN, rights=replace(RIGHTS, **changes))


def more_files(*files: OpenFile) -> Observed:
    return replace(SEEN, files=(*FILES, *files))


def file(target: str, access: str = "read", kind: FileKind = FileKind.REGULAR, **more: Any) -> OpenFile:
    return OpenFile(20, target, kind, access, **more)


def limit(name: str, soft: int | None, hard: int | None) -> Observed:
    return replace(SEEN, limits={**LIMITS, name: Limit(soft, hard)})


def groups(*changed: ControlGroup, without: tuple[str, ...] = ()) -> Observed:
    return replace(SEEN, control_groups=(*(g for g in GROUPS if g.controllers[0] not in without), *changed))


def capability(name: str) -> Observed:
    return rights(capabilities={**RIGHTS.capabilities, name: 1 << 21})


DEVIATIONS: list[tuple[str, Observed]] = [
    ("program", replace(SEEN, program="/bin/sh")),
    ("environment", replace(SEEN, environment=("PWD", "TOKEN"))),
    ("secrets in argv", replace(SEEN, secrets=("-vnc ... password=",))),
    ("uid", rights(uids=frozenset({UID, 0}))),
    ("uid", rights(uids=frozenset({UID + 1}))),
    ("gid", rights(gids=frozenset({0}))),
    ("groups", rights(groups=frozenset({100}))),
    *((f"capabilities, {name}", capability(name)) for name in CAPABILITY_SETS),
    ("no new privileges", rights(no_new_privs=False)),
    ("system calls", rights(seccomp_modes=frozenset({0, 2}))),
    ("system calls", rights(filters=1)),
    ("traced by", rights(tracer=99)),
    *(
        ("namespaces", replace(SEEN, namespaces={**(SEEN.namespaces or {}), kind: False}))
        for kind in ("mnt", "pid", "net", "ipc", "uts", "cgroup")
    ),
    ("mounts", replace(SEEN, mounts=(*(SEEN.mounts or ()), Mount("/etc", False, "ext4")))),
    ("mounts", replace(SEEN, mounts=(*(SEEN.mounts or ()), Mount("/usr/library", False, "ext4")))),
    ("writable places", replace(SEEN, mounts=(Mount("/", True, "tmpfs"),))),
    ("writable places", replace(SEEN, mounts=(Mount("/usr/lib", True, "ext4"),))),
    ("open files", more_files(file("/etc/shadow"))),
    ("open files", more_files(file("/disks/base.qcow2", "read-write"))),
    ("open files", more_files(file(f"{RUN}/console.log", "read-write"))),
    ("open files", more_files(file("/", "read", FileKind.DIRECTORY))),
    ("open files", more_files(file("/", "path", FileKind.DIRECTORY))),
    ("open files", more_files(file("/dev/sda", "read-write", FileKind.BLOCK))),
    ("open files", more_files(file("/dev/mem", "read", FileKind.CHARACTER))),
    ("taps", more_files(file("/dev/net/tun", "read-write", FileKind.CHARACTER, tap="vif8.0"))),
    ("taps", more_files(file("/dev/net/tun", "read-write", FileKind.CHARACTER))),
    ("kvm", more_files(file("/dev/kvm", "read-write", FileKind.CHARACTER))),
    ("other descriptors", more_files(file("pipe:[5]", "read", FileKind.PIPE))),
    ("other descriptors", more_files(file("anon_inode:[io_uring]", "read-write", FileKind.ANONYMOUS))),
    ("other descriptors", more_files(file("anon_inode:bpf-prog", "read-write", FileKind.ANONYMOUS))),
    ("other descriptors", more_files(file("anon_inode:kvm-vm", "read-write", FileKind.ANONYMOUS))),
    ("other descriptors", more_files(file("mnt:[4026531832]", "read", FileKind.OTHER))),
    ("sockets", replace(SEEN, sockets=(OpenSocket("tcp", "0.0.0.0:22", True, (8,)),))),
    ("sockets", replace(SEEN, sockets=(OpenSocket("unknown", "", False, (8,)),))),
    ("sockets", replace(SEEN, sockets=(OpenSocket("unix", "", False, (8,)),))),
    ("sockets", replace(SEEN, sockets=(OpenSocket("unix", "/home/run/wirtd.sock", False, (8,)),))),
    ("network devices", replace(SEEN, network_devices=("lo", "eth0"))),
    ("listening", replace(SEEN, listening=(OpenSocket("tcp", "0.0.0.0:22", True),))),
    ("core size", limit("core", 1, 2)),
    ("file length", limit("file", None, None)),
    ("descriptors, at most", limit("files", 1024, 4096)),
    ("threads of its uid", limit("processes", 130, 130)),
    ("message queues", limit("queues", 800, 800)),
    ("device files", groups(replace(GROUPS[0], devices=("a *:* rwm",)), without=("devices",))),
    ("memory, in force", groups(replace(GROUPS[1], memory_bytes=None), without=("memory",))),
    ("memory, in force", groups(replace(GROUPS[1], memory_bytes=1 << 40), without=("memory",))),
    ("threads, in force", groups(replace(GROUPS[2], processes=130), without=("pids",))),
]


@pytest.mark.parametrize(
    ("what", "seen"), DEVIATIONS, ids=[f"{n}-{what}" for n, (what, _) in enumerate(DEVIATIONS)]
)
def test_each_deviation_is_named_alone(what: str, seen: Observed) -> None:
    result = audit(PLANNED, seen, CARDS)
    assert wide(result) == {what}
    assert result.sentence == "wider than it should be"


def test_rings_are_found_strange_but_in_a_jail_whose_disks_use_them() -> None:
    seen = more_files(file("anon_inode:[io_uring]", "read-write", FileKind.ANONYMOUS))
    result = audit(replace(PLANNED, io_uring=True), seen, CARDS)
    assert not wide(result)
    calls = next(finding for finding in result.findings if finding.what == "system calls")
    assert "io_uring" in calls.expected


def test_a_core_that_could_be_written_is_told_with_where_it_would_go() -> None:
    result = audit(PLANNED, replace(limit("core", 0, 0), core_pattern="|/usr/bin/report %p"), CARDS)
    assert wide(result) == {"core dump"}
    found = next(finding for finding in result.findings if finding.what == "core dump")
    assert found.found == "given to /usr/bin/report %p"
    assert wide(audit(PLANNED, limit("core", None, None), CARDS)) == {"core size", "core dump"}
    assert not wide(audit(PLANNED, limit("core", 0, 0), CARDS)), "no helper, no file: no core"


def test_a_process_that_was_moved_out_of_a_group_is_missed_there_and_its_bound_too() -> None:
    away = ControlGroup(("pids",), "/cg/pids", frozenset({"pids"}))
    result = audit(PLANNED, groups(away, without=("pids",)), CARDS)
    assert wide(result) == {"control groups", "threads, in force"}
    why = next(finding.why for finding in result.findings if finding.what == "control groups")
    assert why == "not in /cg/pids/wirt/x"


def test_a_single_thread_outside_counts_as_much_as_all() -> None:
    away = ControlGroup(("memory",), "/cg/memory", frozenset({"memory"}))
    result = audit(PLANNED, groups(away), CARDS)
    assert wide(result) == {"control groups", "memory, in force"}
    assert "a thread is in /cg/memory" in next(f.why for f in result.findings if f.what == "control groups")


def test_limits_that_are_tighter_than_planned_are_no_fault() -> None:
    seen = replace(SEEN, limits={**LIMITS, "files": Limit(64, 64), "file": Limit(4096, 4096)})
    tight = replace(GROUPS[1], memory_bytes=1)
    assert not wide(audit(PLANNED, replace(seen, control_groups=(GROUPS[0], tight, GROUPS[2])), CARDS))


def test_a_disk_that_was_moved_or_removed_under_its_run_is_still_its_disk() -> None:
    moved = (file("/elsewhere/root", "read-write", same_as=("/disks/root.qcow2",)),)
    removed = (file("/disks/root.qcow2 (deleted)", "read-write"),)
    for files in (moved, removed):
        assert not wide(audit(PLANNED, more_files(*files), CARDS))


def test_what_is_shown_read_only_may_be_read_and_no_more() -> None:
    assert not wide(audit(PLANNED, more_files(file("/usr/lib/firmware.fd")), CARDS))
    assert wide(audit(PLANNED, more_files(file("/usr/lib/firmware.fd", "read-write")), CARDS)) == {"open files"}
    assert wide(audit(PLANNED, more_files(file("/usr/lib", kind=FileKind.DIRECTORY)), CARDS)) == {"open files"}


def test_kvm_is_open_where_it_was_handed_over_and_nowhere_else() -> None:
    kvm = replace(PLANNED, handed=(*PLANNED.handed, PlannedFile("/dev/kvm", Access.WRITE)))
    seen = more_files(
        file("/dev/kvm", "read-write", FileKind.CHARACTER),
        file("anon_inode:kvm-vcpu:0", "read-write", FileKind.ANONYMOUS),
    )
    assert not wide(audit(kvm, seen, CARDS))
    assert wide(audit(PLANNED, seen, CARDS)) == {"kvm", "other descriptors"}


@pytest.mark.parametrize(
    ("what", "seen"),
    [
        ("vif 0", CardSeen("vif7.0", "other", True)),
        ("vif 0 rules", CardSeen("vif7.0", "br0", True, ("the chain of vif7.0 is gone",))),
    ],
)
def test_a_card_that_is_elsewhere_or_unfiltered_is_named(what: str, seen: CardSeen) -> None:
    assert wide(audit(PLANNED, SEEN, replace(CARDS, seen=(seen,)))) == {what}


def test_a_card_without_its_tap_is_cut_off_and_not_wider() -> None:
    result = audit(PLANNED, SEEN, replace(CARDS, seen=()))
    assert not wide(result)
    assert next(finding.found for finding in result.findings if finding.what == "vif 0") == "gone"


def test_what_the_configuration_weakens_is_told_and_is_no_deviation() -> None:
    open_card = replace(CARDS.planned[0], antispoof=False)
    result = audit(
        replace(PLANNED, weaker=("it has device_model_args",)), SEEN, replace(CARDS, planned=(open_card,))
    )
    weak = {finding.what for finding in result.findings if finding.verdict is Verdict.WEAKER}
    assert weak == {"configuration", "vif 0 spoofing"}
    assert result.verdict is Verdict.WEAKER
    assert result.sentence == "as planned, which is weaker than a jail can be"


def test_a_user_mode_card_in_the_hosts_network_is_told_as_weaker_with_its_forwards() -> None:
    planned = replace(PLANNED, private_network=False, weaker=("its user-mode card needs the host's network",))
    card = Card(1, VifKind.USER, forwards=(("tcp", 2222),))
    seen = replace(
        SEEN,
        namespaces={**(SEEN.namespaces or {}), "net": False},
        network_devices=("lo", "eth0"),
        listening=(OpenSocket("tcp", "127.0.0.1:2222", True),),
        sockets=(OpenSocket("tcp", "127.0.0.1:2222", True, (9,)),),
    )
    result = audit(planned, seen, replace(CARDS, planned=(*CARDS.planned, card)))
    assert result.verdict is Verdict.WEAKER
    more = replace(seen, listening=(OpenSocket("tcp", "0.0.0.0:2222", True),))
    assert wide(audit(planned, more, replace(CARDS, planned=(*CARDS.planned, card)))) == {"listening"}


def test_a_rootless_jail_is_weaker_by_what_only_root_can_give() -> None:
    planned = replace(PLANNED, uid=None, control_groups=(), device_rules=())
    seen = replace(
        rights(uids=frozenset({1000}), gids=frozenset({1000}), groups=frozenset({1000, 27})),
        namespaces=dict.fromkeys(SEEN.namespaces or {}, True),
        control_groups=(ControlGroup((), "/cg/user.slice", frozenset({"memory", "pids"})),),
    )
    result = audit(planned, seen, CARDS)
    weak = {finding.what for finding in result.findings if finding.verdict is Verdict.WEAKER}
    assert result.verdict is Verdict.WEAKER, wide(result)
    assert weak == {
        "uid", "gid", "groups", "control groups", "memory, in force", "threads, in force", "device files",
    }  # fmt: skip
    as_root = replace(seen, rights=replace(RIGHTS, uids=frozenset({0}), gids=frozenset({0})))
    assert {"uid", "gid"} <= wide(audit(planned, as_root, CARDS)), "root's uid is never right"


def test_a_run_without_a_jail_gets_its_honest_list() -> None:
    planned = replace(PLANNED, jailed=False, uid=None, control_groups=(), device_rules=())
    seen = replace(
        rights(uids=frozenset({0}), capabilities=dict.fromkeys(CAPABILITY_SETS, (1 << 41) - 1), filters=1),
        namespaces=dict.fromkeys(SEEN.namespaces or {}, False),
        control_groups=(ControlGroup((), "/cg", frozenset()),),
        network_devices=("lo", "eth0"),
    )
    result = audit(planned, seen, CARDS)
    assert result.sentence == "wider than a jail: it runs without one"
    assert {"uid", "capabilities, effective", "system calls", "namespaces", "control groups"} <= wide(result)
    assert not [finding for finding in result.findings if finding.verdict is Verdict.WEAKER]


PARTS = (
    "program", "rights", "namespaces", "mounts", "files", "sockets", "listening", "network_devices",
    "control_groups", "limits", "environment", "secrets",
)  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_what_could_not_be_looked_at_is_said_with_the_reason(part: str) -> None:
    changes: dict[str, Any] = {part: None, "unseen": {part: "Permission denied"}}
    blind = replace(SEEN, **changes)
    result = audit(PLANNED, blind, CARDS)
    unknown = [finding for finding in result.findings if finding.verdict is Verdict.UNKNOWN]
    assert [finding.why for finding in unknown] == ["Permission denied"]
    assert result.verdict is Verdict.UNKNOWN
    assert result.sentence == "as it should be, as far as could be seen"


def test_rules_that_can_not_be_listed_and_processes_that_are_none_are_said_to_be_unseen() -> None:
    blind = audit(PLANNED, SEEN, Cards(CARDS.planned, unseen="nft is not installed"))
    assert [f.why for f in blind.findings if f.verdict is Verdict.UNKNOWN] == ["nft is not installed"]
    assert audit_unseen("process 42 has ended", Cards()).verdict is Verdict.UNKNOWN


def test_every_capability_has_its_name_and_those_to_come_a_number() -> None:
    assert capability_names(1 << 12 | 1 << 21) == ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]
    assert capability_names(1 << 40) == ["CAP_CHECKPOINT_RESTORE"]
    assert capability_names(1 << len(CAPABILITIES)) == ["capability 41"]


@given(some.lists(some.text()), some.integers(1, 5))
def test_few_never_shows_more_than_it_is_told_to(items: list[str], most: int) -> None:
    told = few(items, most)
    if len(items) > most:
        assert told.endswith(f"and {len(items) - most} more")


HOME = ("/home", "/home/run")
TOPS = (HomeFile("/home", 0o700, True, False, False), HomeFile("/home/run", 0o700, True, False, False))


def test_a_home_that_is_closed_is_clean_whatever_modes_are_inside() -> None:
    inside = HomeFile("/home/log/wirtd.log", 0o644, False, False, False)
    assert all(finding.verdict is Verdict.OK for finding in audit_home(HOME, (*TOPS, inside)))


@pytest.mark.parametrize(
    ("entry", "clean"),
    [
        (HomeFile("/home/images/tiny/vmlinuz", 0o644, False, True, False), True),
        (HomeFile("/home/images/tiny/vmlinuz", 0o666, False, True, True), False),
        (HomeFile("/home/state.db", 0o640, False, True, False), False),
        (HomeFile("/home/imagesque", 0o644, False, True, False), False),
        (HomeFile("/home/run/domains/1/console.log", 0o644, False, True, False), False),
    ],
)
def test_what_others_could_open_in_the_home_is_named(entry: HomeFile, clean: bool) -> None:
    found = audit_home(HOME, (*TOPS, entry))
    wider = [finding for finding in found if finding.verdict is Verdict.WIDER]
    assert (wider == []) is clean
    assert clean or entry.path in wider[0].found
