"""Wire types of pools of CPUs; as in :mod:`wirt.wire.v1`, fields are only ever added."""

from __future__ import annotations

from dataclasses import dataclass, field

from wirt.wire.v1 import VERSION


@dataclass(frozen=True, slots=True)
class CpuPool:
    """``cpus`` as a list, ``2-3,8``: those that are online. ``domains`` are names, also of those that are off;
    ``running`` how many run."""

    name: str
    cpus: str
    count: int
    running: int
    domains: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CpuPoolList:
    pools: list[CpuPool]
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class CpuPoolRequest:
    """``text`` is a file as xl takes it (name, cpus, nodes, sched); ``overrides`` say keys of it anew."""

    text: str = ""
    overrides: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CpusRequest:
    cpus: str


@dataclass(frozen=True, slots=True)
class CpuPoolOf:
    pool: str
