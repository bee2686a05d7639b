"""Wire types of who has which share of the CPUs; as in :mod:`wirt.wire.v1`, fields are only ever added."""

from __future__ import annotations

from dataclasses import dataclass, field

from wirt.wire.v1 import VERSION


@dataclass(frozen=True, slots=True)
class SchedDomain:
    """``cap`` in percent of one CPU, 0 for none. ``budget_us`` 0: its vCPUs have no period. ``mechanism`` is empty
    while it is off. ``remarks`` say what of this the host can't keep."""

    name: str
    uuid: str
    domid: int | None
    vcpus: int
    weight: int
    cap: int
    period_us: int
    budget_us: int
    extratime: bool
    mechanism: str = ""
    remarks: list[str] = field(default_factory=list)
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class SchedDomainList:
    """``mechanism`` of new runs, and why it is that one."""

    domains: list[SchedDomain]
    mechanism: str
    reason: str
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class CreditRequest:
    """What is ``None`` stays as it is."""

    weight: int | None = None
    cap: int | None = None


@dataclass(frozen=True, slots=True)
class PinRequest:
    """``vcpu`` is a number or ``all``; ``hard`` and ``soft`` lists of CPUs, ``all``, or ``-`` to leave them."""

    vcpu: str
    hard: str
    soft: str = "-"


@dataclass(frozen=True, slots=True)
class VcpusRequest:
    vcpus: int


@dataclass(frozen=True, slots=True)
class RealTimeRequest:
    """For all vCPUs. What is ``None`` stays as it is; a budget of 0 takes budget and period away."""

    period_us: int | None = None
    budget_us: int | None = None
    extratime: bool | None = None
