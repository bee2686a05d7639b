"""``wirt security-group``: groups made, changed and destroyed, with the rules of running guests at every step.

A change is written down first and laid on the network then, in one transaction for all cards. If the network
refuses, the record goes back; if the daemon dies in between, the next one lays on what is written.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import structlog

from wirt.config.security import parse_rule, write_rule
from wirt.model.domain import Domain
from wirt.model.errors import BadInput, NotFound, ResourceBusy, WirtError
from wirt.model.security import Allow, SecurityGroup, group_name_fault
from wirt.operations.environment import Environment
from wirt.operations.groups import Kept, near

log = structlog.get_logger()

MOST_RULES = 200
LONGEST_DESCRIPTION = 200
EVENT = "security-group"


@dataclass(frozen=True, slots=True)
class GroupUse:
    """A group and whoever names it: domains, also those that are off, and the rules of other groups."""

    group: SecurityGroup
    domains: tuple[Domain, ...]
    groups: tuple[str, ...]


async def restore(environment: Environment) -> None:
    """At the daemon's start, before any card is plugged in or adopted. A network that refuses is told of and tried
    again with the next change: guests that are in groups can't be started meanwhile."""
    await environment.groups.load()
    try:
        await environment.network.set_groups(tuple(environment.groups))
    except WirtError as error:
        log.error("the security groups are not in force", error=str(error))
        environment.bus.publish(EVENT, None, None, {"what": "not in force", "message": str(error)})


def look(environment: Environment, name: str) -> GroupUse:
    group = environment.groups.find(name)
    domains = tuple(domain for domain in environment.domains if any(name in v.groups for v in domain.config.vifs))
    groups = tuple(
        other.name
        for other in environment.groups
        if other.name != name and any(rule.group == name for rule in other.rules)
    )
    return GroupUse(group, domains, groups)


async def create(
    environment: Environment, name: str, rules: Sequence[str], description: str = ""
) -> SecurityGroup:
    """``NameInUse``, and ``BadInput`` that says which rule is wrong, at which column."""
    fault = group_name_fault(name)
    if fault is not None:
        raise BadInput(fault)
    async with _changing(environment):
        group = SecurityGroup(name, (), _description(description))
        group = replace(group, rules=_rules(environment, group, rules))
        return await _write(environment, group, None, "created")


async def change(
    environment: Environment, name: str, rules: Sequence[str] | None = None, description: str | None = None
) -> SecurityGroup:
    """``rules`` take the place of all that were there; ``None`` leaves them."""
    async with _changing(environment):
        kept = environment.groups.kept(name)
        group = kept.group
        if rules is not None:
            group = replace(group, rules=_rules(environment, group, rules))
        if description is not None:
            group = replace(group, description=_description(description))
        return await _write(environment, group, kept, "changed")


async def allow(environment: Environment, name: str, more: Sequence[str]) -> SecurityGroup:
    """``more`` rules. One that is there already stays where it is."""
    async with _changing(environment):
        kept = environment.groups.kept(name)
        rules = (*map(write_rule, kept.group.rules), *more)
        return await _write(
            environment, replace(kept.group, rules=_rules(environment, kept.group, rules)), kept, "changed"
        )


async def revoke(environment: Environment, name: str, rule: str) -> SecurityGroup:
    """``rule`` is a rule, or its number in ``wirt security-group info``, from 1. ``NotFound`` if there is none."""
    async with _changing(environment):
        kept = environment.groups.kept(name)
        place = _place(kept.group, rule)
        rules = (*kept.group.rules[:place], *kept.group.rules[place + 1 :])
        return await _write(environment, replace(kept.group, rules=rules), kept, "changed")


async def destroy(environment: Environment, name: str) -> SecurityGroup:
    """``ResourceBusy`` while a domain names it, also one that is off, or a rule of another group."""
    async with _changing(environment):
        kept = environment.groups.kept(name)
        use = look(environment, name)
        if use.domains:
            raise ResourceBusy(
                f"security group {name} is named by {_names([domain.name for domain in use.domains])}",
                hint="take it out of their vifs, or undefine them, first",
            )
        if use.groups:
            raise ResourceBusy(
                f"security group {name} is named by rules of {_names(use.groups)}",
                hint=f"revoke those rules first: wirt security-group info {use.groups[0]}",
            )
        await environment.groups.remove(kept)
        try:
            await _lay(environment, environment.groups.put(kept.group, None))
        except NotFound as error:
            raise ResourceBusy(
                f"a card that is plugged in is in security group {name}",
                hint="its domain is just being started or ended; wirt jobs shows what is under way",
            ) from error
        _tell(environment, kept.group, "destroyed")
        return kept.group


@asynccontextmanager
async def _changing(environment: Environment) -> AsyncIterator[None]:
    """One change after the other: the network is always told of all groups at once."""
    async with environment.groups.lock:
        yield


async def _write(environment: Environment, group: SecurityGroup, before: Kept | None, what: str) -> SecurityGroup:
    if before is not None and before.group == group:
        return group
    written = await environment.groups.put(group, before)
    back = environment.groups.remove(written) if before is None else environment.groups.put(before.group, written)
    await _lay(environment, back)
    _tell(environment, group, what)
    return group


async def _lay(environment: Environment, back: Coroutine[Any, Any, object]) -> None:
    """The groups as they are now on the network; if that fails, ``back`` takes the record back."""
    try:
        await environment.network.set_groups(tuple(environment.groups))
        # Cards that an earlier daemon plugged in get their rules by being mended: they too are to follow at once.
        for sentence in await environment.network.mend():
            log.warning("card's filters mended", what=sentence)
    except BaseException:
        # Shielded: whoever asked may be gone, and neither record nor network may say what is not so.
        await asyncio.shield(_take_back(environment, back))
        raise
    back.close()


async def _take_back(environment: Environment, back: Coroutine[Any, Any, object]) -> None:
    await back
    with contextlib.suppress(WirtError):
        await environment.network.set_groups(tuple(environment.groups))


def _tell(environment: Environment, group: SecurityGroup, what: str) -> None:
    rules = [write_rule(rule) for rule in group.rules]
    environment.bus.publish(EVENT, None, None, {"name": group.name, "what": what, "rules": rules})


def _rules(environment: Environment, group: SecurityGroup, texts: Sequence[str]) -> tuple[Allow, ...]:
    """Checked, and each once. A rule may name the group that it stands in."""
    rules = tuple(dict.fromkeys(parse_rule(text) for text in texts[: 2 * MOST_RULES]))
    if len(rules) > MOST_RULES or len(texts) > 2 * MOST_RULES:
        raise BadInput(f"a security group has at most {MOST_RULES} rules", hint="a card may be in several groups")
    names = environment.groups.names | {group.name}
    for rule in rules:
        if rule.group is not None and rule.group not in names:
            raise BadInput(
                f"the rule {write_rule(rule)} names a security group that is not there: {rule.group}",
                hint=near(rule.group, names),
            )
    return rules


def _description(text: str) -> str:
    if len(text) > LONGEST_DESCRIPTION or not text.isprintable():
        raise BadInput(f"a description is one line of at most {LONGEST_DESCRIPTION} printable characters")
    return text


def _place(group: SecurityGroup, text: str) -> int:
    hint = f"wirt security-group info {group.name} shows its rules with their numbers"
    if text.isascii() and text.isdigit():
        number = int(text) if len(text) < 6 else 0
        if 1 <= number <= len(group.rules):
            return number - 1
        raise NotFound(
            f"security group {group.name} has no rule {text[:10]}: it has {len(group.rules)}", hint=hint
        )
    rule = parse_rule(text)
    if rule not in group.rules:
        raise NotFound(f"security group {group.name} does not allow {write_rule(rule)}", hint=hint)
    return group.rules.index(rule)


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
