"""``wirt audit``: each running domain as the kernel shows it, beside the jail that it was given."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wirt.model.devices import VifKind, devids
from wirt.model.domain import Domain
from wirt.model.errors import BadInput, Unavailable, WirtError
from wirt.operations.backup import scratch
from wirt.operations.backup_busy import under_way
from wirt.operations.environment import Environment
from wirt.operations.running import running
from wirt.plan.audit import Audit, Card, Cards, CardSeen, audit, audit_home, audit_unseen
from wirt.plan.findings import Finding
from wirt.plan.jail import JailHost, Layer, plan_jail
from wirt.plan.observed import Planned, planned_jail
from wirt.ports.audit import Observer
from wirt.ports.files import touch


@dataclass(frozen=True, slots=True)
class Audited:
    domain: Domain
    audit: Audit


@dataclass(frozen=True, slots=True)
class HostAudit:
    domains: tuple[Audited, ...]
    home: tuple[Finding, ...]


async def audit_host(environment: Environment, refs: Sequence[str] = ()) -> HostAudit:
    """The domains ``refs``, which must run, or all that do; and the files of wirt's home. Changes nothing."""
    observer = environment.observer
    if observer is None:
        raise Unavailable("nothing can be audited here: wirtd was given no way to look at processes")
    if any(ref in ("0", "Domain-0") for ref in refs):
        raise BadInput("Domain-0 is the host itself", hint="name guests: wirt list shows them")
    chosen = [running(environment.domains.find(ref)) for ref in refs] or [
        domain for domain in environment.domains if domain.incarnation is not None
    ]
    domains = tuple([Audited(domain, await _audit(environment, observer, domain)) for domain in chosen])
    settings = environment.settings
    directories = tuple(dict.fromkeys((settings.home, str(settings.runs.parent))))
    files = await asyncio.to_thread(observer.home, directories)
    return HostAudit(domains, audit_home(directories, files))


async def _audit(environment: Environment, observer: Observer, domain: Domain) -> Audit:
    run = domain.incarnation
    assert run is not None
    cards = await _cards(environment, domain)
    if run.pid is None:
        return audit_unseen(f"the {run.hypervisor} hypervisor has no process for it", cards)
    try:
        planned = observer.planned(environment.directory(run.domid)) or await _unjailed(environment, domain)
    except WirtError as error:
        return audit_unseen(str(error), cards)
    if under_way(environment, domain.uuid):
        planned = replace(planned, scratch=str(scratch(environment)))
    known = [file.path for file in planned.handed] + [f"{planned.directory}/qemu.log"]
    seen = await touch(f"{planned.directory}/.", observer.observe, run.pid, run.started_ticks, known)
    if seen is None:
        return audit_unseen(f"process {run.pid} has ended", cards)
    return audit(planned, seen, cards)


async def _cards(environment: Environment, domain: Domain) -> Cards:
    assert domain.incarnation is not None
    notes = domain.incarnation.notes
    planned = []
    for index, vif in zip(devids(domain.config.vifs), domain.config.vifs, strict=True):
        noted = notes.get(f"kind.{index}", "")
        kind = VifKind(noted) if noted in list(VifKind) else vif.kind or VifKind.NONE
        forwards = [
            (forward.protocol, int(port))
            for forward in vif.forwards
            if (port := notes.get(f"forward.{index}.{forward.protocol}.{forward.guest_port}", "")).isdecimal()
        ]
        tap, bridge = notes.get(f"tap.{index}"), notes.get(f"bridge.{index}")
        planned.append(Card(index, kind, tap, bridge, vif.groups, vif.antispoof, tuple(forwards)))
    taps = [card.tap for card in planned if card.tap is not None]
    if not taps:
        return Cards(tuple(planned))
    try:
        reports = await environment.network.inspect(taps)
    except WirtError as error:
        return Cards(tuple(planned), unseen=str(error))
    seen = tuple(CardSeen(report.tap, report.bridge, report.up, report.amiss) for report in reports)
    return Cards(tuple(planned), seen)


async def _unjailed(environment: Environment, domain: Domain) -> Planned:
    """The jail that a run without one would have."""
    assert domain.incarnation is not None
    domid = domain.incarnation.domid
    launch = await environment.plan(domain, domid, running=True)
    directory = environment.directory(domid)
    program = str(Path(environment.hypervisor.describe(launch, directory)[0]).resolve())
    chains = {disk.id: (Layer(disk.path, disk.format),) for disk in launch.disks if disk.path is not None}
    firmware = tuple(path for _, path in (await environment.hypervisor.facts()).firmware_files)
    host = JailHost(root=True, program=program, program_files=firmware)
    plan = plan_jail(launch, str(directory), host, chains)
    return planned_jail(plan, None, jailed=False)
