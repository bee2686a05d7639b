"""The model as wire types: the one place where the two meet."""

from __future__ import annotations

from dataclasses import asdict, fields, is_dataclass, replace
from enum import StrEnum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from wirt.config import xlcfg
from wirt.model import domain as model
from wirt.model.devices import devids
from wirt.model.job import Job
from wirt.model.lifecycle import State, flags
from wirt.operations import affinity
from wirt.operations.bus import Happening
from wirt.operations.create import Preview
from wirt.operations.environment import Environment
from wirt.operations.refresh import outdated
from wirt.operations.vif import Attachment
from wirt.plan.nics import generated_mac
from wirt.ports.hypervisor import VcpuInfo
from wirt.ports.machine import MachineNow
from wirt.wire import v1

LOOPBACK = "127.0.0.1"


def domain(environment: Environment, of: model.Domain) -> v1.Domain:
    """One domain as it is at this moment; no round trip to its guest."""
    run = of.incarnation
    usage = environment.hypervisor.usage(of.uuid) if run else None
    now = environment.clock.now()
    return v1.Domain(
        name=of.name,
        uuid=str(of.uuid),
        domid=of.domid,
        type=str(of.config.type),
        state=str(of.state),
        flags=flags(of.state, blocked=usage.blocked if usage else False),
        memory_mib=of.config.memory_mib,
        vcpus=of.config.vcpus,
        cpu_time_s=round(usage.cpu_time_s, 2) if usage else 0.0,
        uptime_s=round(max(0.0, now - run.started_at), 3) if run else None,
        persistent=of.persistent,
        hypervisor=environment.hypervisor.name,
        epoch=of.epoch,
        wanted=str(of.wanted),
        pid=run.pid if run else None,
        end_reason=str(run.end) if run and run.end else None,
        message=run.message if run else "",
        vifs=_vifs(of),
        disks=[
            v1.Disk(disk.vdev, disk.target, str(disk.format), disk.writable and not disk.cdrom, disk.cdrom)
            for disk in of.config.disks
        ],
        weaker=run.notes.get("weaker", "").splitlines() if run else [],
        saved=of.saved,
        outdated=outdated(environment, of),
    )


def domain_zero(environment: Environment, now: MachineNow, guests: list[v1.Domain]) -> v1.Domain:
    """The host itself: what it has and its guests do not."""
    taken = sum(guest.memory_mib for guest in guests if guest.domid is not None)
    used = sum(guest.cpu_time_s for guest in guests)
    return v1.Domain(
        name="Domain-0",
        uuid=str(UUID(int=0)),
        domid=0,
        type="host",
        state=str(State.RUNNING),
        flags="r-----",
        memory_mib=max(0, now.memory_bytes // 2**20 - taken),
        vcpus=now.cpus,
        cpu_time_s=round(max(0.0, now.cpu_time_s - used), 1),
        uptime_s=now.uptime_s,
        persistent=True,
        hypervisor=environment.hypervisor.name,
        epoch=0,
    )


async def detail(environment: Environment, of: model.Domain) -> v1.DomainDetail:
    shown = domain(environment, of)
    vifs = [replace(vif, statistics=await _statistics(environment, vif)) for vif in shown.vifs]
    return v1.DomainDetail(replace(shown, vifs=vifs), xlcfg.without_secrets(of.text), plain(of.config))


async def _statistics(environment: Environment, vif: v1.Vif) -> v1.VifStatistics | None:
    counted = None if vif.tap is None else await environment.network.statistics(vif.tap)
    return None if counted is None else v1.VifStatistics(**asdict(counted))


def _vifs(of: model.Domain) -> list[v1.Vif]:
    notes = of.incarnation.notes if of.incarnation else {}
    vifs = []
    for index, vif in zip(devids(of.config.vifs), of.config.vifs, strict=True):
        tap = notes.get(f"tap.{index}")
        ports = [
            (forward, notes.get(f"forward.{index}.{forward.protocol}.{forward.guest_port}"))
            for forward in vif.forwards
        ]
        forwards = [
            v1.Forward(forward.protocol, LOOPBACK, int(port), forward.guest_port)
            for forward, port in ports
            if port
        ]
        vifs.append(
            v1.Vif(
                index=index,
                mac=vif.mac or generated_mac(of.uuid, index),
                model=vif.model or "",
                kind=notes.get(f"kind.{index}") or str(vif.kind or ""),
                bridge=notes.get(f"bridge.{index}") or vif.bridge,
                tap=tap,
                addresses=list(vif.ip),
                forwards=forwards,
                state=_vif_state(of, index),
                link=notes.get(f"link.{index}", "up") if f"kind.{index}" in notes else None,
            )
        )
    return vifs


def _vif_state(of: model.Domain, index: int) -> str:
    if of.incarnation is None:
        return "off"
    if f"kind.{index}" not in of.incarnation.notes:
        return "absent"
    return "leaving" if f"leaving.{index}" in of.incarnation.notes else "attached"


def attachment(of: Attachment) -> v1.AttachPreview:
    return v1.AttachPreview(
        name=of.domain.name,
        index=of.devid,
        now=of.domain.incarnation is not None,
        text=xlcfg.without_secrets(of.text),
        plan=plain(of.nic),
        notices=[notice(each) for each in of.notices],
    )


def job(of: Job) -> v1.Job:
    return v1.Job(
        id=of.id,
        kind=of.kind,
        subject=of.subject,
        state=str(of.state),
        progress=of.progress,
        message=of.message,
        steps=[v1.Step(step.name, str(step.state)) for step in of.steps],
        created_at=of.created_at,
        finished_at=of.finished_at,
        error=v1.JobError(of.error.code, of.error.message, of.error.hint) if of.error else None,
        result=of.notes.get("result") or _result(of),
        notices=[v1.Notice(**notice) for notice in of.arguments.get("notices", [])],
    )


def _result(of: Job) -> dict[str, Any]:
    """What most jobs are about: a domain, and the number that it got."""
    if "uuid" not in of.arguments:
        return {}
    return {"uuid": of.arguments["uuid"], "name": of.subject, "domid": of.notes.get("domid")}


def event(of: Happening) -> v1.Event:
    return v1.Event(of.seq, of.time, of.kind, of.domain, str(of.uuid) if of.uuid else None, of.data)


def notice(of: xlcfg.Notice) -> v1.Notice:
    return v1.Notice(of.message, of.key, of.file, of.line, of.column)


def preview(of: Preview) -> v1.PlanPreview:
    return v1.PlanPreview(
        text=xlcfg.without_secrets(of.loaded.text),
        config=plain(of.loaded.config),
        plan=plain(of.plan),
        command=list(of.command),
        notices=[notice(each) for each in of.loaded.notices],
    )


def vcpu(environment: Environment, of: model.Domain, info: VcpuInfo) -> v1.Vcpu:
    hard, soft = affinity.shown(environment, of, info.index)
    # What was taken offline stays in its QEMU; if the guest has brought it up again, it is seen to run.
    unused = info.index >= of.config.vcpus and not info.running
    marks = "--p" if unused or of.state is not State.RUNNING else ("-b-" if info.blocked else "r--")
    return v1.Vcpu(
        domain=of.name,
        domid=of.domid or 0,
        index=info.index,
        cpu=None if unused else info.cpu,
        flags=marks,
        cpu_time_s=round(info.cpu_time_s, 2),
        affinity_hard=hard,
        affinity_soft=soft,
    )


def zero_vcpus(now: MachineNow) -> list[v1.Vcpu]:
    """Domain-0's are the host's own CPUs."""
    return [
        v1.Vcpu("Domain-0", 0, number, number, "r--", round(time_s, 1), "all", "all")
        for number, time_s in now.each_cpu_time_s
    ]


def key(of: xlcfg.Key) -> v1.Key:
    return v1.Key(of.name, of.type, of.default or "", of.help, str(of.group), sorted(of.honoured))


def plain(value: Any) -> Any:
    """Dataclasses, enums, tuples and the like as JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, StrEnum | UUID | PurePath):
        return str(value)
    if isinstance(value, tuple | list | frozenset):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    return value
