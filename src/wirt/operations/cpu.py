"""``wirt cpu``: what guests' CPUs can be on this host, and on all of several hosts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from wirt.model.cpu import MOST_FEATURES, CpuModel, CpuOffer, is_feature
from wirt.model.errors import BadInput, IllegalState, Unavailable, WirtError
from wirt.operations.environment import Environment
from wirt.operations.receive import peers_of
from wirt.plan.cpu import Baseline, baseline, choose, named
from wirt.wire import v1_cpu as wire

ASK_S = 15.0
MOST_HOSTS = 64
MOST_MODELS = 500

_HOST_CPU = TypeAdapter(wire.HostCpu)


@dataclass(frozen=True, slots=True)
class FoundBaseline:
    """``not_asked``: hosts that it does not speak for, with the reason."""

    baseline: Baseline
    accelerator: str
    not_asked: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]


async def offered(environment: Environment) -> wire.HostCpu:
    """What this host can give guests. ``Unavailable`` if its hypervisor does not say."""
    facts = await environment.hypervisor.facts()
    offer = facts.cpu
    if offer is None:
        raise Unavailable(
            f"{environment.machine.name} can't tell which CPUs guests can have there", hint="wirt info says why"
        )
    levels = [each for each in named(offer) if offer.model(each.name) is None]
    models = sorted((*offer.models, *levels), key=lambda model: model.name)
    return wire.HostCpu(
        host=environment.machine.name,
        accelerator=str(facts.accelerator),
        hypervisor_version=list(facts.version),
        vendor=offer.vendor,
        identity=offer.identity,
        default=choose(environment.settings.cpu_model, facts.accelerator, offer).model,
        features=sorted(offer.features),
        models=[wire.CpuModel(each.name, sorted(each.features), list(each.missing)) for each in models],
    )


async def find_baseline(environment: Environment, hosts: Sequence[str]) -> FoundBaseline:
    """Of this host and ``hosts``, or all peers if none is named. A host that can't be asked is told, and not
    counted. ``IllegalState`` if no guest could move between them whatever its CPU."""
    if len(hosts) > MOST_HOSTS:
        raise BadInput(f"{len(hosts)} hosts are too many", hint=f"at most {MOST_HOSTS}")
    here = await offered(environment)
    targets = dict.fromkeys(hosts or [peer.name for peer in environment.known_peers])
    targets.pop(here.host, None)
    answers = await asyncio.gather(*(_ask(environment, target) for target in targets))
    said = {here.host: here}
    not_asked = []
    for target, answer in zip(targets, answers, strict=True):
        if isinstance(answer, str):
            not_asked.append((target, answer))
        else:
            said[target if answer.host in said else answer.host] = answer
    _check_accelerators(said)
    try:
        found = baseline({name: _offer(each) for name, each in said.items()})
    except BadInput as error:
        raise IllegalState(error.message, hint="name hosts that are alike") from error
    return FoundBaseline(found, here.accelerator, tuple(not_asked), _remarks(found, here.accelerator))


async def _ask(environment: Environment, target: str) -> wire.HostCpu | str:
    """Its answer, or why there is none."""
    try:
        peer = await peers_of(environment).reach(target)
        try:
            answer = await peer.call("GET", "/v1/cpu", deadline_s=ASK_S)
        finally:
            with contextlib.suppress(WirtError):
                await peer.close()
        found = _HOST_CPU.validate_python(answer)
        _offer(found)
        return found
    except WirtError as error:
        return error.message
    except ValidationError:
        return "it answers what can't be understood: it may have another version of wirt"


def _offer(said: wire.HostCpu) -> CpuOffer:
    """``BadInput`` for what can't be."""
    lists = [said.features, *(each.features for each in said.models), *(each.missing for each in said.models)]
    if len(said.models) > MOST_MODELS or any(len(each) > MOST_FEATURES for each in lists):
        raise BadInput(f"{said.host} tells of more CPUs than there are")
    if not all(is_feature(word) for each in lists for word in each):
        raise BadInput(f"{said.host} tells of features that could not be")
    models = tuple(CpuModel(each.name, frozenset(each.features), tuple(each.missing)) for each in said.models)
    return CpuOffer(said.vendor, said.identity, frozenset(said.features), models)


def _check_accelerators(said: dict[str, wire.HostCpu]) -> None:
    kinds = {each.accelerator for each in said.values()}
    if len(kinds) > 1:
        words = ", ".join(f"{name} has {each.accelerator}" for name, each in sorted(said.items()))
        raise IllegalState(
            f"no guest moves between hosts with different accelerators: {words}",
            hint="name those that have the same: wirt cpu baseline HOST...",
        )


def _remarks(found: Baseline, accelerator: str) -> tuple[str, ...]:
    if accelerator == "kvm" and len(found.vendors) > 1:
        vendors = " and ".join(found.vendors)
        return (
            f"these hosts have CPUs of {vendors}: KVM moves no guest from one to the other, whatever its model",
        )
    return ()
