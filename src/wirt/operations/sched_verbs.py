"""``wirt sched-credit``, ``sched-credit2``, ``sched-rtds``, ``disk-qos --weight``: terms changed, with running
guests at once.

A change is written down first and laid on then. If the host refuses, the record goes back; if the daemon dies in
between, the next one lays on what is written.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import PurePosixPath

from wirt.config.xlcfg import load, with_value
from wirt.model.domain import Domain, DomainConfig
from wirt.model.errors import BadInput, ConfigError, StoreConflict, WirtError
from wirt.operations.environment import Environment
from wirt.operations.moving import settled
from wirt.operations.scheduling import check_terms, is_held, lay, real_time_of, vcpus_of
from wirt.plan.networks_shares import check_network_weight
from wirt.plan.shares import (
    LEAST_WEIGHT,
    CreditTerms,
    RealTimeTerms,
    check,
    check_admission,
    check_disk_weight,
    check_real_time,
)

ROOT = PurePosixPath("/")
ZERO = ("0", "Domain-0")
WRITTEN_TRIES = 3
"""A job of the domain may write its record at the same moment."""

Value = str | int | list[str] | None


def guest(environment: Environment, ref: str) -> Domain:
    if ref in ZERO:
        raise BadInput(
            "Domain-0's terms are not set here: beside its guests the host is one group of the kernel's",
            hint="domain-0-cpus in wirt.toml keeps CPUs for it",
        )
    return settled(environment.domains.find(ref))


async def set_credit(
    environment: Environment, ref: str, weight: int | None = None, cap: int | None = None
) -> Domain:
    """``None`` leaves it. ``BadInput`` with the range that can be."""
    domain = guest(environment, ref)
    now = CreditTerms(LEAST_WEIGHT if weight is None else weight, (domain.config.cap or 0) if cap is None else cap)
    check(now, vcpus_of(domain.config))
    values: dict[str, Value] = {} if weight is None else {"cpu_weight": weight}
    if cap is not None:
        values["cap"] = cap
    return await change(environment, domain, values)


async def set_real_time(
    environment: Environment,
    ref: str,
    period_us: int | None = None,
    budget_us: int | None = None,
    extra: bool | None = None,
) -> Domain:
    """Of all its vCPUs. A budget of 0 takes budget and period away. ``BadInput`` with the range that can be, or
    if all budgets together are more than the host has."""
    domain = guest(environment, ref)
    if budget_us == 0:
        return await change(environment, domain, {"period": None, "budget": None, "extratime": None})
    before = real_time_of(domain.config) or RealTimeTerms()
    wished = RealTimeTerms(
        before.period_us if period_us is None else period_us,
        before.budget_us if budget_us is None else budget_us,
        before.extra if extra is None else extra,
    )
    check_real_time(wished)
    others = [
        (terms, vcpus_of(other.config))
        for other in environment.domains
        if other.uuid != domain.uuid and is_held(other) and (terms := real_time_of(other.config)) is not None
    ]
    check_admission([*others, (wished, vcpus_of(domain.config))], environment.machine.now().cpus)
    values: dict[str, Value] = {"period": wished.period_us, "budget": wished.budget_us}
    return await change(environment, domain, {**values, "extratime": int(wished.extra)})


async def set_disk_weight(environment: Environment, ref: str, weight: int | None) -> Domain:
    """``None`` takes it away: then its class says it, or nobody. ``BadInput`` with the range that can be."""
    domain = guest(environment, ref)
    if weight is not None:
        check_disk_weight(weight)
    return await change(environment, domain, {"disk_weight": weight})


async def set_network_weight(environment: Environment, ref: str, weight: int | None) -> Domain:
    """As :func:`set_disk_weight`; the networks' own loop lays it on, within a second."""
    domain = guest(environment, ref)
    if weight is not None:
        check_network_weight(weight)
    return await change(environment, domain, {"network_weight": weight})


async def change(environment: Environment, domain: Domain, values: Mapping[str, Value]) -> Domain:
    """Keys of ``domain``'s record, and its run if it has one, which then is held to them. ``None`` takes a key
    away."""
    before = domain.text
    if values:
        domain = await _record(environment, domain, _with(domain.text, values))
    try:
        await lay(environment, domain.uuid)
    except BaseException:
        # Shielded: whoever asked may be gone, and the record may not say what is not so.
        await asyncio.shield(_take_back(environment, domain, before))
        raise
    if values:
        environment.tell(domain, change="scheduling", **values)
    return domain


def _with(text: str, values: Mapping[str, Value]) -> str:
    for key, value in values.items():
        text = with_value(text, key, value)
    return text


async def _record(environment: Environment, domain: Domain, text: str) -> Domain:
    config = read(text, domain.name)
    check_terms(config)
    for _ in range(WRITTEN_TRIES):
        now = settled(environment.domains.find(str(domain.uuid)))
        if now.text != domain.text:
            break
        notes = {} if now.incarnation is None else now.incarnation.notes
        with contextlib.suppress(StoreConflict):
            return await environment.domains.reconfigure(now.uuid, config=config, text=text, notes=notes)
    raise StoreConflict(
        str(domain.uuid), f"domain {domain.name} was changed by another at that moment: try it again"
    )


def read(text: str, name: str) -> DomainConfig:
    try:
        return load(text, file=name, cwd=ROOT).config
    except ConfigError as error:
        raise BadInput(f"{error.key}: {error.message}", hint=error.hint) from error


async def _take_back(environment: Environment, domain: Domain, text: str) -> None:
    if domain.text == text:
        return
    with contextlib.suppress(WirtError):
        await _record(environment, domain, text)
        await lay(environment)
