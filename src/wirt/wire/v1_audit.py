"""The API's types of the audit, version 1. Conventions as in :mod:`wirt.wire.v1`."""

from __future__ import annotations

from dataclasses import dataclass, field

from wirt.wire.v1 import VERSION


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """``verdict``: ``ok``; ``weaker``: as planned, and less than a jail can be; ``unknown``: it could not be
    looked at; ``wider``: more than it should have. ``details`` are complete where ``found`` is short."""

    what: str
    found: str
    expected: str
    verdict: str
    why: str = ""
    details: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class AuditedDomain:
    """``verdict`` is the worst of its findings, ``sentence`` the same for people."""

    name: str
    uuid: str
    domid: int | None
    pid: int | None
    jailed: bool
    verdict: str
    sentence: str
    findings: list[AuditFinding]


@dataclass(frozen=True, slots=True)
class Audit:
    """``home`` is about the files of wirt's home. ``verdict`` is the worst of all."""

    verdict: str
    summary: str
    domains: list[AuditedDomain]
    home: list[AuditFinding]
    api: str = VERSION
