"""Who a running domain's process is, and what bounds it: compared with its jail. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from wirt.plan.findings import Finding, few, judged, number, size, unseen
from wirt.plan.observed import ControlGroup, Limit, Observed, Planned, Rights

_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT "
    "SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL "
    "SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
CAPABILITIES = tuple(_CAPABILITIES.split())
"""By number (linux/capability.h)."""

ONLY_ROOT = "only root can give each run one of its own"
_SECCOMP = {0: "none", 1: "strict"}
_FILTERED = 2
_OWN = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_OWNERS = {True: "own", False: "the host's"}
_HARMLESS_VARIABLES = frozenset({"PWD"})
"""bwrap sets it (bwrap(1), ``--chdir``)."""


def process(planned: Planned, seen: Observed) -> Iterator[Finding]:
    yield _program(planned, seen)
    names = few((f"{name} ({pid})" for pid, name in seen.parents), 2) if seen.parents else "not seen"
    yield judged("started by", names, "bwrap, or whoever took its place", wider=False)
    yield _environment(seen)
    yield _command_line(seen)


def _program(planned: Planned, seen: Observed) -> Finding:
    """A QEMU that was upgraded runs on, from a file that is gone."""
    if seen.program is None:
        return unseen("program", planned.program, seen.unseen.get("program", ""))
    same = seen.program.removesuffix(" (deleted)") == planned.program
    return judged("program", seen.program, planned.program, wider=not same)


def _environment(seen: Observed) -> Finding:
    what, expected = "environment", "nothing of the daemon's"
    if seen.environment is None:
        return unseen(what, expected, seen.unseen.get("environment", ""))
    told = [name for name in seen.environment if name not in _HARMLESS_VARIABLES]
    return judged(what, few(told), expected, wider=bool(told), details=seen.environment)


def _command_line(seen: Observed) -> Finding:
    what, expected = "secrets in argv", "none"
    if seen.secrets is None:
        return unseen(what, expected, seen.unseen.get("secrets", ""))
    return judged(what, few(seen.secrets), expected, wider=bool(seen.secrets), details=seen.secrets)


def rights(planned: Planned, seen: Observed) -> Iterator[Finding]:
    if seen.rights is None:
        yield unseen("uid, capabilities, filters", "those of a jail", seen.unseen.get("rights", ""))
    else:
        yield from _identity(planned, seen.rights)
        yield from _capabilities(seen.rights)
        yield from _gates(planned, seen.rights)
    yield _namespaces(planned, seen)


def _identity(planned: Planned, has: Rights) -> Iterator[Finding]:
    """A rootless jail keeps the daemon's uid, which must not be root's."""
    rootless = planned.jailed and planned.uid is None
    for what, ids in (("uid", has.uids), ("gid", has.gids)):
        known = rootless and 0 not in ids
        expected = "one of its own" if planned.uid is None else str(planned.uid)
        wider = planned.uid is None or ids != {planned.uid}
        yield judged(what, _numbers(ids), expected, wider=wider, weaker=known, why=ONLY_ROOT if known else "")
    extra = has.groups - set(planned.groups)
    expected = _numbers(frozenset(planned.groups))
    yield judged("groups", _numbers(has.groups), expected, wider=bool(extra), weaker=rootless)


def _numbers(ids: frozenset[int]) -> str:
    return few(sorted(ids))


def _capabilities(has: Rights) -> Iterator[Finding]:
    for name, mask in has.capabilities.items():
        held = capability_names(mask)
        found = f"all {len(held)}" if len(held) >= len(CAPABILITIES) else few(held)
        yield judged(f"capabilities, {name}", found, "none", wider=mask != 0, details=held)


def capability_names(mask: int) -> list[str]:
    bits = [bit for bit in range(mask.bit_length()) if mask >> bit & 1]
    return [f"CAP_{CAPABILITIES[bit]}" if bit < len(CAPABILITIES) else f"capability {bit}" for bit in bits]


def _gates(planned: Planned, has: Rights) -> Iterator[Finding]:
    yield judged("no new privileges", "on" if has.no_new_privs else "off", "on", wider=not has.no_new_privs)
    filtered = has.seccomp_modes == {_FILTERED}
    found = _filters(has.filters) if filtered else few(_SECCOMP.get(m, "filters") for m in has.seccomp_modes)
    wider = not filtered or has.filters < planned.filters
    rings = ", io_uring let through" if planned.io_uring else ""
    yield judged("system calls", found, f"{_filters(planned.filters)}{rings}", wider=wider)
    yield judged("traced by", few([has.tracer] if has.tracer else []), "none", wider=has.tracer != 0)


def _filters(count: int) -> str:
    return f"{count} filter" if count == 1 else f"{count} filters"


def _namespaces(planned: Planned, seen: Observed) -> Finding:
    """A user namespace stands in for root's rights; built by root, a jail has none."""
    left = {"user"} if planned.uid is not None or not planned.jailed else set()
    if not planned.private_network:
        left.add("net")
    wanted = [kind for kind in _OWN if kind not in left]
    expected = f"own: {' '.join(wanted)}"
    if seen.namespaces is None:
        return unseen("namespaces", expected, seen.unseen.get("namespaces", ""))
    own = [kind for kind, differs in seen.namespaces.items() if differs]
    shared = [kind for kind in wanted if kind in seen.namespaces and kind not in own]
    why = f"the host's: {' '.join(shared)}" if shared else ""
    details = [f"{kind}: {_OWNERS[differs]}" for kind, differs in seen.namespaces.items()]
    found = f"own: {' '.join(own) or 'none'}"
    return judged("namespaces", found, expected, wider=bool(shared), why=why, details=details)


def limits(planned: Planned, seen: Observed) -> Iterator[Finding]:
    if seen.limits is None:
        yield unseen("limits of the process", "those of a jail", seen.unseen.get("limits", ""))
        return
    rows = (
        ("core size", "core", planned.core_bytes, True, size),
        ("descriptors, at most", "files", planned.open_files, True, number),
        ("file length", "file", planned.file_bytes, False, size),
        ("threads of its uid", "processes", planned.processes, True, number),
        ("message queues", "queues", 0, True, size),
    )
    for what, name, wanted, hard_too, shown in rows:
        limit = seen.limits.get(name, Limit(None, None))
        wider = _above(limit.soft, wanted) or (hard_too and _above(limit.hard, wanted))
        hard = f" (hard {shown(limit.hard)})" if hard_too and limit.hard != limit.soft else ""
        yield judged(what, shown(limit.soft) + hard, shown(wanted), wider=wider)
    yield _core(seen, seen.limits.get("core", Limit(None, None)))


def _above(value: int | None, wanted: int) -> bool:
    return value is None or value > wanted


def _core(seen: Observed, limit: Limit) -> Finding:
    """A limit of 1 keeps a helper from being started too, which 0 does not (core(5))."""
    pattern = seen.core_pattern or "core"
    piped = pattern.startswith("|")
    possible = limit.soft != 1 and (piped or limit.soft != 0)
    found = f"{'given to' if piped else 'written to'} {pattern.removeprefix('|')}" if possible else "none"
    return judged("core dump", found, "none", wider=possible)


def groups(planned: Planned, seen: Observed) -> Iterator[Finding]:
    if seen.control_groups is None:
        yield unseen("control groups", few(planned.control_groups, 1), seen.unseen.get("control_groups", ""))
        return
    own = [group for group in seen.control_groups if group.place in planned.control_groups]
    strayed = _strayed(planned, seen.control_groups)
    yield _membership(planned, seen.control_groups, own, strayed)
    for what, name, wanted, shown in (
        ("memory", "memory", planned.memory_bytes, size),
        ("threads", "pids", planned.processes, number),
    ):
        able = any(name in group.able for group in own)
        found = _in_force(seen.control_groups, name)
        wider = _above(found, wanted)
        known = planned.jailed and not able and not strayed
        why = f"no control group with {name} may be made on this host" if known and wider else ""
        yield judged(f"{what}, in force", shown(found), shown(wanted), wider=wider, weaker=known, why=why)
    yield from _devices(planned, seen.control_groups, own, strayed)


def _strayed(planned: Planned, seen: tuple[ControlGroup, ...]) -> list[str]:
    """Places where the run, or one of its threads, should not be."""
    places = {group.place for group in seen}
    hierarchies = [group.controllers for group in seen if group.place in planned.control_groups]
    within = tuple(f"{place}/" for place in planned.control_groups)
    beside = [
        g.place
        for g in seen
        if g.controllers in hierarchies
        and g.place not in planned.control_groups
        and not g.place.startswith(within)
    ]
    missing = [place for place in planned.control_groups if place not in places]
    return [*(f"not in {place}" for place in missing), *(f"a thread is in {place}" for place in beside)]


def _membership(
    planned: Planned, seen: tuple[ControlGroup, ...], own: list[ControlGroup], strayed: list[str]
) -> Finding:
    details = [f"{','.join(group.controllers) or 'version 2'}: {group.place}" for group in seen]
    found = f"its own in {few((_hierarchy(group) for group in own), 6)}" if own else "none of its own"
    wanted = len(planned.control_groups)
    expected = f"its own in {wanted} hierarch{'y' if wanted == 1 else 'ies'}" if wanted else "its own"
    known = planned.jailed and not planned.control_groups
    why = "this host lets none be made" if known else "; ".join(strayed)
    wider = bool(strayed) or not planned.control_groups
    return judged("control groups", found, expected, wider=wider, weaker=known, why=why, details=details)


def _hierarchy(group: ControlGroup) -> str:
    return "+".join(group.controllers) or "version 2"


def _in_force(seen: tuple[ControlGroup, ...], name: str) -> int | None:
    """The least bound over all hierarchies, of the thread that is bound least in each."""
    found: list[int] = []
    for controllers in {group.controllers for group in seen if name in group.able}:
        values = [
            group.memory_bytes if name == "memory" else group.processes
            for group in seen
            if group.controllers == controllers
        ]
        bounds = [value for value in values if value is not None]
        if values and len(bounds) == len(values):
            found.append(max(bounds))
    return min(found, default=None)


def _devices(
    planned: Planned, seen: tuple[ControlGroup, ...], own: list[ControlGroup], strayed: list[str]
) -> Iterator[Finding]:
    expected = f"{len(planned.device_rules)} rules" if planned.device_rules else "a list of its own"
    lists = [group.devices for group in seen if group.devices is not None]
    if not lists:
        why = "control groups of version 2: its mounts and filters hold it alone"
        yield judged("device files", "no list", expected, wider=True, weaker=planned.jailed, why=why)
        return
    extra = sorted({rule for rules in lists for rule in rules} - set(planned.device_rules))
    known = planned.jailed and not strayed and all(group.devices is None for group in own)
    why = "no control group with devices may be made on this host" if known and extra else ""
    rules = [rule for found in lists for rule in found]
    found = f"{len(rules)} rules" if not extra else few(extra)
    yield judged("device files", found, expected, wider=bool(extra), weaker=known, why=why, details=rules)
