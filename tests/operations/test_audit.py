"""The audit of a host: which domains it looks at, and what it says when it can't."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_json
from tests.operations.kit import SimulatedHost
from tests.plan.test_audit import PLANNED, SEEN

from wirt.api.audit import LONGEST_TEXT, MOST_DETAILS, answer
from wirt.model.errors import BadInput, CorruptState, IllegalState, NotFound, Unavailable
from wirt.operations.audit import HostAudit, audit_host
from wirt.plan.findings import Verdict
from wirt.plan.observed import FileKind, HomeFile, Observed, OpenFile, Planned
from wirt.ports.network import PortReport


@dataclass
class Eyes:
    """Sees what it is told to see."""

    seen: Observed | None = SEEN
    plan: Planned | CorruptState | None = PLANNED
    files: tuple[HomeFile, ...] = ()
    asked: list[int] = field(default_factory=list)

    def observe(self, pid: int, started_ticks: int | None, known: Sequence[str] = ()) -> Observed | None:
        self.asked.append(pid)
        return self.seen

    def planned(self, directory: Path) -> Planned | None:
        if isinstance(self.plan, CorruptState):
            raise self.plan
        return self.plan

    def home(self, directories: Sequence[str]) -> tuple[HomeFile, ...]:
        return self.files


@pytest.fixture
def eyes() -> Eyes:
    return Eyes()


@pytest.fixture
async def host(tmp_path: Path, eyes: Eyes, monkeypatch: pytest.MonkeyPatch) -> SimulatedHost:
    """With one domain, "web", that has a process and a card."""
    host = SimulatedHost(tmp_path)
    await host.boot()
    host.environment.observer = eyes
    await host.create(name="web")
    run = host.environment.domains.find("web").incarnation
    assert run is not None
    notes = {**run.notes, "tap.0": "vif7.0", "bridge.0": "wirtbr0"}
    await host.environment.domains.start_run(replace(run, pid=42, started_ticks=7, notes=notes))

    async def inspect(taps: Sequence[str]) -> tuple[PortReport, ...]:
        return tuple(PortReport(tap, "wirtbr0", up=True) for tap in taps)

    monkeypatch.setattr(host.network, "inspect", inspect, raising=False)
    return host


def whys(found: HostAudit) -> list[str]:
    [domain] = found.domains
    return [finding.why for finding in domain.audit.findings if finding.verdict is Verdict.UNKNOWN]


async def test_every_domain_that_runs_is_looked_at_or_those_that_are_named(
    host: SimulatedHost, eyes: Eyes
) -> None:
    await host.create(name="db")
    found = await audit_host(host.environment)
    assert [(each.domain.name, each.audit.verdict) for each in found.domains] == [
        ("web", Verdict.OK),
        ("db", Verdict.UNKNOWN),
    ]
    found = await audit_host(host.environment, ["web"])
    assert [each.domain.name for each in found.domains] == ["web"]
    assert eyes.asked == [42, 42]


async def test_who_is_not_there_or_off_or_the_host_can_not_be_audited(host: SimulatedHost) -> None:
    with pytest.raises(NotFound):
        await audit_host(host.environment, ["nosuch"])
    with pytest.raises(BadInput, match="the host itself"):
        await audit_host(host.environment, ["0"])
    await host.create(name="keep", persistent=True)
    await host.environment.domains.end_run(host.environment.domains.find("keep").uuid)
    with pytest.raises(IllegalState, match="keep is off"):
        await audit_host(host.environment, ["keep"])
    host.environment.observer = None
    with pytest.raises(Unavailable):
        await audit_host(host.environment)


async def test_a_process_that_has_just_ended_is_said_to_have_ended(host: SimulatedHost, eyes: Eyes) -> None:
    eyes.seen = None
    assert whys(await audit_host(host.environment)) == ["process 42 has ended"]


async def test_a_record_of_the_jail_that_is_spoilt_is_said_to_be(host: SimulatedHost, eyes: Eyes) -> None:
    eyes.plan = CorruptState("jail-plan.json can't be read")
    assert whys(await audit_host(host.environment)) == ["jail-plan.json can't be read"]


async def test_rules_that_can_not_be_listed_are_said_to_be_unseen(
    host: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(taps: Sequence[str]) -> tuple[PortReport, ...]:
        raise Unavailable("nft is not installed")

    monkeypatch.setattr(host.network, "inspect", refuse, raising=False)
    assert whys(await audit_host(host.environment)) == ["nft is not installed"]


async def test_a_run_without_a_jail_is_held_against_the_jail_it_would_have(
    host: SimulatedHost, eyes: Eyes
) -> None:
    eyes.plan = None
    [domain] = (await audit_host(host.environment)).domains
    assert not domain.audit.jailed
    assert domain.audit.sentence == "wider than a jail: it runs without one"
    findings = {finding.what: finding for finding in domain.audit.findings}
    assert findings["memory, in force"].expected != "unlimited"
    assert findings["uid"].expected == "one of its own"


async def test_the_answer_is_json_whatever_files_are_called_and_however_many_there_are(
    host: SimulatedHost, eyes: Eyes
) -> None:
    evil = [f"/x/\udcff\x1b[2J\n{'n' * 5000}{number}" for number in range(MOST_DETAILS + 10)]
    files = tuple(OpenFile(9, name, FileKind.REGULAR, "read") for name in evil)
    eyes.seen = replace(SEEN, files=files)
    eyes.files = tuple(HomeFile(f"/home/{name}", 0o644, False, True, False) for name in evil[:50])
    document: dict[str, Any] = json.loads(to_json(answer(await audit_host(host.environment))))
    assert document["verdict"] == "wider"
    parts = [*document["domains"][0]["findings"], *document["home"]]
    opened = next(part for part in parts if part["what"] == "open files")
    assert len(opened["details"]) == MOST_DETAILS
    texts = [text for part in parts for text in (part["found"], part["why"], *part["details"])]
    assert all(len(text) <= LONGEST_TEXT for text in texts)
    assert any("\\udcff" in text for text in texts)


async def test_the_summary_counts_by_verdict(host: SimulatedHost, eyes: Eyes) -> None:
    await host.create(name="db")
    summary = answer(await audit_host(host.environment)).summary
    assert summary == "2 domains: 1 not wholly seen, 1 as it should be; the home is as it should be"
    eyes.files = (HomeFile("/home/state.db", 0o644, False, True, False),)
    audited = answer(await audit_host(host.environment, ["web"]))
    assert audited.summary == "1 domain: 1 as it should be; the home is wider than it should be"
    assert audited.verdict == "wider"
