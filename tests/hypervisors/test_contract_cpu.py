"""What a hypervisor says of CPUs is what its guests get."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from uuid import uuid4

import pytest

from wirt.hypervisors.qemu import cpus
from wirt.model.domain import Incarnation
from wirt.model.errors import ConfigError
from wirt.plan.cpu import EMULATED_EVERYWHERE, ChosenCpu, baseline, choose, lacking
from wirt.plan.host import Accelerator
from wirt.plan.launch import plan_launch
from wirt.ports.hypervisor import Launch, given_cpu

from .conftest import FAKE, OLD, QEMU, make_rig, qemu_binary
from .rigs import HOST, Rig

every = pytest.mark.parametrize("rig", [FAKE, QEMU, OLD], indirect=True)


@pytest.fixture
async def rig(request: pytest.FixtureRequest, tmp_path: Path):  # type: ignore[no-untyped-def]
    made = make_rig(request, str(request.param), tmp_path)
    yield made
    await made.close()


async def run(rig: Rig, directory: Path, wish: str | None) -> Incarnation:
    """One that has been launched, and was never told to run."""
    facts = await rig.hypervisor.facts()
    config = dataclasses.replace(rig.config(), cpu_model=wish, vifs=())
    domain = uuid4()
    plan = plan_launch(config, domain, 1, HOST, facts)
    incarnation = Incarnation(domain, 1, "here", 1, rig.hypervisor.name, 0.0)
    try:
        return await rig.hypervisor.launch(Launch(plan, incarnation, directory / f"run-{domain}"))
    finally:
        await rig.hypervisor.destroy(domain)


@every
async def test_it_names_models_and_features_and_a_guest_has_them(rig: Rig, tmp_path: Path) -> None:
    facts = await rig.hypervisor.facts()
    offer = facts.cpu
    assert offer is not None and offer.model("qemu64") is not None
    assert (await rig.hypervisor.facts()).cpu == offer
    assert any(model.missing for model in offer.models)
    for wish in (None, "x86-64-v1,+aes,-sse2"):
        given = given_cpu(await run(rig, tmp_path, wish), "?")
        assert given.features == choose(wish, facts.accelerator, offer).features
    assert {"aes"} <= given.features and "sse2" not in given.features


@every
async def test_a_model_that_it_lacks_something_of_is_refused_before_the_launch(rig: Rig, tmp_path: Path) -> None:
    offer = (await rig.hypervisor.facts()).cpu
    assert offer is not None
    model = next(each for each in offer.models if each.missing)
    with pytest.raises(ConfigError, match=model.missing[0]):
        await run(rig, tmp_path, model.name)


@pytest.mark.parametrize("rig", [QEMU, OLD], indirect=True)
async def test_what_qemu_could_not_give_after_all_is_not_recorded(rig: Rig, tmp_path: Path) -> None:
    facts = await rig.hypervisor.facts()
    domain = uuid4()
    chosen = ChosenCpu("qemu64,+pcid", "qemu64,pcid=on", frozenset({"fpu", "pcid"}))
    made = plan_launch(dataclasses.replace(rig.config(), vifs=()), domain, 1, HOST, facts)
    begun = Incarnation(domain, 1, "here", 1, rig.hypervisor.name, 0.0)
    plan = dataclasses.replace(made, cpu=chosen)
    try:
        started = await rig.hypervisor.launch(Launch(plan, begun, tmp_path / "run"))
    finally:
        await rig.hypervisor.destroy(domain)
    assert given_cpu(started, "?").features == {"fpu"}


@pytest.mark.real
async def test_what_is_taken_for_common_to_all_qemus_is() -> None:
    """And no less than that: whatever a newer QEMU adds has to be looked at."""
    old, new = [await cpus.ask(qemu_binary(name), Accelerator.TCG) for name in ("qemu-7.2", "qemu")]
    assert old.features & new.features == EMULATED_EVERYWHERE
    both = [choose(None, Accelerator.TCG, each).features for each in (old, new)]
    assert both[0] == both[1]
    found = baseline({"old": old, "new": new})
    assert not lacking(given_cpu(_noted(found.features), "?"), old)
    assert found.base == "x86-64-v3"


def _noted(features: frozenset[str]) -> Incarnation:
    notes = {"cpu": "max", "cpu-features": " ".join(features)}
    return Incarnation(uuid4(), 1, "here", 1, "qemu", 0.0, notes=notes)


@pytest.mark.real
async def test_a_qemu_that_does_not_answer_is_a_note_and_no_failure(tmp_path: Path) -> None:
    from .rigs import FACTS

    stand_in = tmp_path / "qemu"
    stand_in.write_text("#!/bin/sh\necho '{\"QMP\": {}}'; echo '{\"return\": {}}'\n")
    stand_in.chmod(0o755)
    found = await cpus.with_cpu(FACTS, str(stand_in), tmp_path / "cpus.json")
    assert found.cpu is None and "not known" in found.notes[-1]
