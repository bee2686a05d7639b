"""``wirt network-rate``: how much a card may send and be sent, kept in the configuration and in force at once.

The card is limited first, then it is written down: a start or a move takes the limits from the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

from wirt.config.xlcfg import load, vif_entries, with_rates
from wirt.config.xlcfg.cards import RATES
from wirt.model.devices import VifKind, devids
from wirt.model.domain import Domain
from wirt.model.errors import BadInput, IllegalState
from wirt.model.job import Job, Recovery
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step
from wirt.operations.running import EnvContext, domain_of
from wirt.operations.vif import LIVE, ROOT, find_card, plugged_card
from wirt.plan.launch import plan_card


async def set_rate(environment: Environment, ref: str, card: str, rates: Mapping[str, str]) -> Job:
    """``rates``: ``rate`` (of what the guest sends) and ``rate-in`` as a card's entry has them; empty for none."""
    domain = environment.domains.find(ref)
    devid = find_card(domain, card)
    if not rates:
        raise BadInput("there is nothing to change", hint="as in --rate 10Mb/s --rate-in 50Mb/s, or none")
    if domain.incarnation is not None and domain.state not in LIVE:
        raise IllegalState(f"domain {domain.name} is {domain.state}", hint=f"wirt destroy {domain.name} ends it")
    meant = _with(domain, devid, rates)
    if any(rates.values()) and _kind(environment, meant, devid) is not VifKind.BRIDGE:
        raise BadInput(
            f"network card {devid} of domain {domain.name} is in no bridge, and only there a rate holds",
            hint="wirt network-list shows where its cards are",
        )
    arguments = {"uuid": str(domain.uuid), "domid": domain.domid, "devid": devid, "rates": dict(rates)}
    return await environment.jobs.submit(JobKind.VIF_RATE, domain.name, arguments)


def _kind(environment: Environment, domain: Domain, devid: int) -> VifKind:
    if domain.incarnation is not None and (noted := domain.incarnation.notes.get(f"kind.{devid}")) is not None:
        return VifKind(noted)
    return plan_card(domain.config, domain.uuid, 0, environment.host_facts(), devid).kind


def _with(domain: Domain, devid: int, rates: Mapping[str, str]) -> Domain:
    """The domain with the other limits, not yet written. ``ConfigError`` for a rate that is none."""
    text = with_rates(domain.text, devid, rates)
    config = load(text, file=domain.name, cwd=ROOT).config
    numbers = devids(domain.config.vifs)
    same = [
        replace(vif, rate=None, rate_in=None) == replace(before, rate=None, rate_in=None)
        if number == devid
        else vif == before
        for number, vif, before in zip(numbers, config.vifs, domain.config.vifs, strict=True)
    ]
    if not all(same) or replace(config, vifs=()) != replace(domain.config, vifs=()):
        raise IllegalState(
            f"network card {devid} in the configuration of domain {domain.name} can't be changed safely",
            hint=f"change it by hand: wirt undefine {domain.name} and wirt define FILE",
        )
    return replace(domain, text=text, config=config)


def _now(domain: Domain, devid: int) -> dict[str, str]:
    """Both limits as the configuration has them."""
    entry = dict(zip(devids(domain.config.vifs), vif_entries(domain.text), strict=True))[devid]
    words = dict(part.strip().partition("=")[::2] for part in entry.split(","))
    return {name: words.get(name, "") for name in RATES}


async def _limit(context: EnvContext) -> None:
    domain, arguments = domain_of(context), context.job.arguments
    if domain.domid != arguments["domid"]:
        raise IllegalState(f"domain {domain.name} is {domain.state} by now", hint="look at it, and ask again")
    meant = _with(domain, arguments["devid"], arguments["rates"])
    async with context.environment.qos_classes.holding(domain.uuid):
        await _apply(context.environment, meant, arguments["devid"])


async def _limit_as_before(context: EnvContext) -> None:
    domain, arguments = domain_of(context), context.job.arguments
    if domain.domid == arguments["domid"]:
        async with context.environment.qos_classes.holding(domain.uuid):
            await _apply(context.environment, domain, arguments["devid"])


async def _apply(environment: Environment, domain: Domain, devid: int) -> None:
    """A card that a run is without, or that has no tap, has no limits that could change."""
    tap = None if domain.incarnation is None else domain.incarnation.notes.get(f"tap.{devid}")
    # A daemon that has just begun may not know the card yet.
    if tap is not None and await plugged_card(environment, domain, devid) is not None:
        config = environment.qos_classes.effective(domain.config)
        nic = plan_card(config, domain.uuid, domain.domid or 0, environment.host_facts(), devid)
        await environment.network.set_policy(tap, nic.policy)


async def hold_cards(environment: Environment, uuid: UUID) -> None:
    """Have the cards of a domain that runs held to what is written down of it and of its class of service. To be
    called with the domain's lock (:meth:`~wirt.operations.qos_classes.QosClasses.holding`)."""
    domain = environment.domains.get(uuid)
    if domain is not None and domain.state in LIVE:
        for devid in devids(domain.config.vifs):
            await _apply(environment, domain, devid)


async def _record(context: EnvContext) -> None:
    environment, domain, arguments = context.environment, domain_of(context), context.job.arguments
    if "before" not in context.job.notes:
        await context.note(before=_now(domain, arguments["devid"]))
    meant = _with(domain, arguments["devid"], arguments["rates"])
    changed = await environment.domains.change(domain.uuid, config=meant.config, text=meant.text)
    if changed.config.qos is not None:  # its class may have been changed since the first step
        async with environment.qos_classes.holding(domain.uuid):
            await hold_cards(environment, domain.uuid)
    environment.tell(changed, change="network-rate", devid=arguments["devid"])


async def _record_as_before(context: EnvContext) -> None:
    before = context.job.notes.get("before")
    if before is not None:
        domain = domain_of(context)
        was = _with(domain, context.job.arguments["devid"], before)
        await context.environment.domains.change(domain.uuid, config=was.config, text=was.text)


RATE = Operation(
    JobKind.VIF_RATE,
    (Step("limit", _limit, _limit_as_before), Step("record", _record, _record_as_before)),
    recovery=Recovery.FINISH,
)
