"""``network-attach``, ``network-detach`` and ``network-link``: cards of a domain that is off or runs.

Attaching is carried on by the next daemon, not taken back: whether a card that is in can be had out again is the
guest's to decide. What a run has stands in its incarnation's notes (``kind.N`` for each card N, and what
:func:`~wirt.operations.running.card_notes` says); :func:`mend` keeps notes, configuration and guest together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import structlog

from wirt.config.xlcfg import Notice, load, read_card, with_card, without_card
from wirt.model.devices import VifKind, devids
from wirt.model.domain import Domain, DomainConfig
from wirt.model.errors import ConfigError, IllegalState, NotFound, Shortage
from wirt.model.job import Job, Recovery, StepState
from wirt.model.lifecycle import State
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.running import EnvContext, card_notes, domain_of, running, tell_noted_scripts, tell_script
from wirt.plan.launch import plan_card
from wirt.plan.nics import PLACES, NicPlan, generated_mac
from wirt.ports.network import Plugged

log = structlog.get_logger()

AGAIN_S = 30.0
"""Between two tries to mend the same."""
LIVE = (State.RUNNING, State.PAUSED)
ROOT = PurePosixPath("/")


@dataclass(frozen=True, slots=True)
class Attachment:
    """What ``network-attach`` would do: the domain's configuration with the card, and the card as planned."""

    domain: Domain
    devid: int
    text: str
    config: DomainConfig
    nic: NicPlan
    notices: tuple[Notice, ...]


def preview(environment: Environment, ref: str, words: Sequence[str]) -> Attachment:
    """Nothing is done. Raises what :func:`attach` would."""
    return _attachment(environment, environment.domains.find(ref), words)


async def attach(environment: Environment, ref: str, words: Sequence[str]) -> Job:
    """Give a domain another card: now if it runs, and whenever it is started. What can be known to be wrong is
    raised now, before there is a job."""
    made = preview(environment, ref, words)
    arguments = {
        **_subject(made.domain),
        "words": list(words),
        "notices": [asdict(notice) for notice in made.notices],
    }
    return await environment.jobs.submit(JobKind.VIF_ATTACH, made.domain.name, arguments)


async def detach(environment: Environment, ref: str, card: str) -> Job:
    """``card`` is a devid or a MAC address. A running guest is asked to let go of it."""
    domain = environment.domains.find(ref)
    devid = find_card(domain, card)
    if domain.incarnation is not None and f"kind.{devid}" in domain.incarnation.notes:
        _check_detachable(domain, devid)
    arguments = {**_subject(domain), "devid": devid}
    return await environment.jobs.submit(JobKind.VIF_DETACH, domain.name, arguments)


async def set_link(environment: Environment, ref: str, card: str, *, up: bool) -> Job:
    """Pull a card's cable or plug it in again, until the end of the run."""
    domain = _live(running(environment.domains.find(ref)))
    devid = find_card(domain, card)
    if f"kind.{devid}" not in _notes(domain):
        raise IllegalState(f"domain {domain.name} runs without its network card {devid}")
    arguments = {**_subject(domain), "devid": devid, "up": up}
    return await environment.jobs.submit(JobKind.VIF_LINK, domain.name, arguments)


def find_card(domain: Domain, card: str) -> int:
    """The devid of the card that ``card``, a devid or a MAC address, names. ``NotFound`` says which there are."""
    cards = macs(domain)
    if card.isdecimal() and len(card) <= 5 and int(card) in cards:
        return int(card)
    for devid, mac in cards.items():
        if mac == card.lower():
            return devid
    known = ", ".join(f"{devid} ({mac})" for devid, mac in sorted(cards.items()))
    hint = f"it has {known}" if known else "it has none"
    raise NotFound(f"domain {domain.name} has no network card {card}", hint=hint)


def macs(domain: Domain) -> dict[int, str]:
    """Of all cards that the domain's configuration has, by devid."""
    vifs = domain.config.vifs
    return {
        devid: vif.mac or generated_mac(domain.uuid, devid) for devid, vif in zip(devids(vifs), vifs, strict=True)
    }


def _subject(domain: Domain) -> dict[str, Any]:
    return {"uuid": str(domain.uuid), "domid": domain.domid}


def _attachment(
    environment: Environment, domain: Domain, words: Sequence[str], devid: int | None = None
) -> Attachment:
    """``devid`` where it is settled already."""
    entry, vif = read_card(words)
    present = macs(domain)
    if devid is None:
        free = next(number for number in range(len(present) + 1) if number not in present)
        devid = free if vif.devid is None else vif.devid
    if devid in present:
        raise ConfigError(
            f"domain {domain.name} has a network card {devid} already",
            key="vif",
            hint="leave devid= out to get a free one",
        )
    for other, mac in present.items():
        if mac == (vif.mac or generated_mac(domain.uuid, devid)):
            raise ConfigError(
                f"{mac} is the address of network card {other} of domain {domain.name}",
                key="vif",
                hint="leave mac= out to get one that nobody has",
            )
    text = with_card(domain.text, entry, devid)
    loaded = load(text, file=domain.name, cwd=ROOT)
    config = environment.qos_classes.effective(loaded.config)
    nic = plan_card(config, domain.uuid, domain.domid or 0, environment.host_facts(), devid)
    if domain.incarnation is not None:
        _live(domain)
        if nic.port is None:
            raise Shortage(
                f"domain {domain.name} has no place for network card {devid} while it runs",
                hint=f"places are 0 to {PLACES - 1}: detach a card, or attach this one while the domain is off",
            )
    before = {notice.message for notice in load(domain.text, file=domain.name, cwd=ROOT).notices}
    notices = tuple(
        replace(notice, file=None, line=None, column=None)
        for notice in loaded.notices
        if notice.message not in before
    )
    return Attachment(domain, devid, text, loaded.config, nic, notices)


def _live(domain: Domain) -> Domain:
    if domain.state not in LIVE:
        raise IllegalState(
            f"domain {domain.name} is {domain.state}", hint="its cards can be changed when it is off, or runs"
        )
    return domain


def _check_detachable(domain: Domain, devid: int) -> None:
    if domain.state is not State.RUNNING:
        wake = f"wirt unpause {domain.name}" if domain.state is State.PAUSED else "do it when the domain is off"
        raise IllegalState(
            f"domain {domain.name} is {domain.state}, and only a guest that runs can let go of a card", hint=wake
        )
    if devid >= PLACES:
        raise IllegalState(
            f"network card {devid} of domain {domain.name} can't be detached while it runs",
            hint=f"only cards 0 to {PLACES - 1} can; shut the domain down first",
        )


def _same_run(context: EnvContext) -> Domain:
    """The domain as it was when the job was asked for: off, or in the very run."""
    domain = domain_of(context)
    if domain.domid != context.job.arguments["domid"]:
        raise IllegalState(f"domain {domain.name} is {domain.state} by now", hint="look at it, and ask again")
    return domain


async def plug(context: EnvContext) -> None:
    domain = _same_run(context)
    words, devid = context.job.arguments["words"], context.job.notes.get("devid")
    await _plug(context, domain, _attachment(context.environment, domain, words, devid).nic)


async def _plug(context: EnvContext, domain: Domain, nic: NicPlan) -> None:
    """All that later steps need is written down at once: the card's number is settled from then on."""
    notes: dict[str, str] = {}
    if domain.incarnation is not None:
        await tell_noted_scripts(context)
        plugged = await context.environment.network.plug(nic)
        context.transient["plugged"] = plugged
        notes = card_notes((plugged,))
    scripts = [notes[key] for key in notes if key.startswith("script.")]
    result = {**_subject(domain), "name": domain.name, "devid": nic.index, "mac": nic.mac}
    await context.note(devid=nic.index, card=notes, scripts=scripts, result=result)


async def unplug(context: EnvContext) -> None:
    """After a crash there is nothing to close: a tap is gone with the last process that held it."""
    await tell_noted_scripts(context)
    plugged = context.transient.pop("plugged", None)
    if plugged is not None:
        await context.environment.network.unplug(plugged)


async def hand_to_guest(context: EnvContext) -> None:
    environment, domain = context.environment, _same_run(context)
    devid = context.job.notes["devid"]
    if domain.incarnation is None or (context.repeated and devid in _present(environment, domain)):
        return
    if "plugged" not in context.transient:  # the descriptor died with the daemon that opened it
        await environment.hypervisor.detach_vif(domain.uuid, devid)
        made = _attachment(environment, domain, context.job.arguments["words"], devid)
        await _plug(context, domain, made.nic)
    await environment.hypervisor.attach_vif(domain.uuid, context.transient["plugged"])


async def take_from_guest(context: EnvContext) -> None:
    environment, devid = context.environment, context.job.notes.get("devid")
    domain = domain_of(context)
    same = domain.incarnation is not None and domain.domid == context.job.arguments["domid"]
    if same and devid is not None and environment.hypervisor.vifs(domain.uuid) is not None:
        await environment.hypervisor.detach_vif(domain.uuid, devid)


def _present(environment: Environment, domain: Domain) -> frozenset[int]:
    return environment.hypervisor.vifs(domain.uuid) or frozenset()


async def record_attached(context: EnvContext) -> None:
    environment, domain = context.environment, _same_run(context)
    devid = context.job.notes["devid"]
    if devid not in macs(domain):
        made = _attachment(environment, domain, context.job.arguments["words"], devid)
        notes = {**_notes(domain), **context.job.notes.get("card", {})}
        domain = await environment.domains.reconfigure(
            domain.uuid, config=made.config, text=made.text, notes=notes
        )
    environment.tell(domain, change="network-attached", devid=devid)


async def forget_attached(context: EnvContext) -> None:
    devid = context.job.notes.get("devid")
    if devid is not None:
        await _forget(context, devid)


async def intend(context: EnvContext) -> None:
    """From here on the card may go at any moment, which :func:`mend` then takes for the end of this job."""
    domain, devid = _same_run(context), context.job.arguments["devid"]
    if f"kind.{devid}" in _notes(domain):
        await _note_run(context, {**_notes(domain), f"leaving.{devid}": "yes"})


async def intend_no_more(context: EnvContext) -> None:
    """Once the guest has been asked, that can't be taken back."""
    domain, devid = domain_of(context), context.job.arguments["devid"]
    if context.job.steps[1].state is StepState.WAITING and domain.domid == context.job.arguments["domid"]:
        notes = {key: value for key, value in _notes(domain).items() if key != f"leaving.{devid}"}
        await _note_run(context, notes)


async def release(context: EnvContext) -> None:
    """The network's end is looked up first: with the card its tap goes."""
    environment, domain = context.environment, _same_run(context)
    devid = context.job.arguments["devid"]
    if f"leaving.{devid}" not in _notes(domain) and not context.job.arguments.get("stray"):
        return
    if devid in _present(environment, domain):
        _check_detachable(domain, devid)
    context.transient["plugged"] = await plugged_card(environment, domain, devid)
    await environment.hypervisor.detach_vif(domain.uuid, devid)


async def adopt_cards(environment: Environment, domain: Domain) -> None:
    """Have the network know what an earlier daemon plugged in for the run of ``domain``, with its filters."""
    for key in _notes(domain):
        if key.startswith("tap."):
            await plugged_card(environment, domain, int(key.removeprefix("tap.")))


async def plugged_card(environment: Environment, domain: Domain, devid: int) -> Plugged | None:
    """What the card of a run is plugged into; ``None`` if that is gone, or never was."""
    notes = _notes(domain)
    if f"kind.{devid}" not in notes or devid not in macs(domain):
        return None
    config = environment.qos_classes.effective(domain.config)
    nic = plan_card(config, domain.uuid, domain.domid or 0, environment.host_facts(), devid)
    kind, tap = VifKind(notes[f"kind.{devid}"]), notes.get(f"tap.{devid}")
    nic = replace(nic, kind=kind, bridge=notes.get(f"bridge.{devid}"))
    if tap is None:
        return Plugged(nic, kind)
    try:
        return await environment.network.adopt(nic, tap)
    except NotFound:
        return None


async def record_detached(context: EnvContext) -> None:
    """``keep``: a guest that has thrown a card out by itself does without it until it is started again."""
    domain, devid = _same_run(context), context.job.arguments["devid"]
    if (script := _notes(domain).get(f"script.{devid}")) is not None:
        await tell_script(context.environment, script)
    await _forget(context, devid, keep_configured=context.job.arguments.get("keep", False))


async def _forget(context: EnvContext, devid: int, *, keep_configured: bool = False) -> None:
    """Neither the configuration nor the run's notes have the card any more."""
    environment, domain = context.environment, domain_of(context)
    same = domain.domid == context.job.arguments["domid"]
    notes = {key: value for key, value in _notes(domain).items() if not same or not _is_of(key, devid)}
    if (keep_configured or devid not in macs(domain)) and notes == _notes(domain):
        return
    text = domain.text if keep_configured else without_card(domain.text, devid)
    config = load(text, file=domain.name, cwd=ROOT).config
    domain = await environment.domains.reconfigure(domain.uuid, config=config, text=text, notes=notes)
    environment.tell(domain, change="network-detached", devid=devid)


async def link(context: EnvContext) -> None:
    environment, domain = context.environment, _same_run(context)
    devid, up = context.job.arguments["devid"], context.job.arguments["up"]
    before = _notes(domain)
    await context.note(before=before.get(f"link.{devid}", "up"))
    await environment.hypervisor.set_link(domain.uuid, devid, up=up)
    await _note_run(context, {**before, f"link.{devid}": "up" if up else "down"})
    environment.tell(domain_of(context), change="network-link", devid=devid)


async def link_as_before(context: EnvContext) -> None:
    environment, domain = context.environment, domain_of(context)
    devid, before = context.job.arguments["devid"], context.job.notes.get("before")
    if before is not None and domain.domid == context.job.arguments["domid"]:
        await environment.hypervisor.set_link(domain.uuid, devid, up=before == "up")
        await _note_run(context, {**_notes(domain), f"link.{devid}": before})


async def mend(environment: Environment, domain: Domain, tried: dict[tuple[int, int], float]) -> None:
    """See to cards that came or went against what is recorded: a guest let go of one late, or threw one out by
    itself; or one could not be taken back. ``tried``: when that was last begun, by domid and devid (monotonic)."""
    present = environment.hypervisor.vifs(domain.uuid)
    if present is None or domain.domid is None or domain.state not in LIVE:
        return
    notes, now = _notes(domain), environment.clock.monotonic()
    recorded = {int(key.split(".")[1]) for key in notes if key.startswith("kind.")}
    strays = present - recorded if domain.state is State.RUNNING else frozenset()
    for devid in sorted((recorded - present) | strays):
        if now - tried.get((domain.domid, devid), -AGAIN_S) < AGAIN_S:
            continue
        tried[domain.domid, devid] = now
        log.info("card not as recorded", domain=domain.name, devid=devid, present=devid in present)
        keep = f"leaving.{devid}" not in notes
        arguments = {**_subject(domain), "devid": devid, "stray": devid in present, "keep": keep}
        await environment.jobs.submit(JobKind.VIF_DETACH, domain.name, arguments)


def _notes(domain: Domain) -> dict[str, str]:
    return {} if domain.incarnation is None else domain.incarnation.notes


def _is_of(note: str, devid: int) -> bool:
    words = note.split(".")
    return len(words) > 1 and words[1] == str(devid)


async def _note_run(context: EnvContext, notes: dict[str, str]) -> None:
    domain = domain_of(context)
    if domain.incarnation is not None:
        await context.environment.domains.start_run(replace(domain.incarnation, notes=notes))


ATTACH = Operation(
    JobKind.VIF_ATTACH,
    (
        Step("plug", plug, unplug),
        Step("attach", hand_to_guest, take_from_guest),
        Step("record", record_attached, forget_attached),
    ),
    recovery=Recovery.FINISH,
)
DETACH = Operation(
    JobKind.VIF_DETACH,
    (
        Step("intend", intend, intend_no_more),
        Step("release", release, nothing_to_undo, interruptible=True),
        Step("unplug", unplug, nothing_to_undo),
        Step("record", record_detached, nothing_to_undo, final=True),
    ),
    recovery=Recovery.FINISH,
)
LINK = Operation(JobKind.VIF_LINK, (Step("link", link, link_as_before),), recovery=Recovery.FINISH)
