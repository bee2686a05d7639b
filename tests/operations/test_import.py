"""``wirt import`` on a host in memory: what comes of an appliance, and what is left when it fails."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.operations.appliance_kit import APPLIANCE, machine
from tests.operations.kit import SimulatedHost, config

from wirt.model.errors import BadInput, NameInUse, NotFound, Shortage
from wirt.model.job import JobState
from wirt.model.lifecycle import State
from wirt.model.storage import VolumeRef
from wirt.operations import import_domain, volumes
from wirt.operations.create import Source, define
from wirt.operations.jobs.engine import Engine
from wirt.plan.imports import ImportWish


async def booted(tmp_path: Path) -> SimulatedHost:
    host = SimulatedHost(tmp_path)
    await host.boot()
    host.appliances.appliances[APPLIANCE] = machine()
    return host


async def test_it_becomes_a_domain_that_is_off_and_owns_its_volumes(tmp_path: Path) -> None:
    host = await booted(tmp_path)
    job = await import_domain.import_domain(host.environment, APPLIANCE, ImportWish())
    job = await host.engine.wait(job.id)
    domain = host.environment.domains.find("shop")
    assert domain.state is State.OFF and domain.persistent
    assert [disk.volume for disk in domain.config.disks] == ["default/shop", "default/shop-1", None]
    assert host.appliances.poured.keys() == {"/fake/home/volumes/shop", "/fake/home/volumes/shop-1"}
    assert "a sound card" in job.notes["result"]["lost"]
    await host.assert_consistent()
    await host.stop()


async def test_looking_at_the_plan_does_nothing(tmp_path: Path) -> None:
    host = await booted(tmp_path)
    found = await import_domain.preview(host.environment, APPLIANCE, ImportWish("web"))
    assert found.plan.name == "web" and 'name    = "web"' in found.text
    assert host.environment.domains.named("web") is None
    assert await (await host.environment.pools.open("default")).volumes() == ()
    await host.stop()


async def test_names_that_are_taken_are_refused_before_there_is_a_job(tmp_path: Path) -> None:
    host = await booted(tmp_path)
    await define(host.environment, Source(config("web"), "web.cfg", "/cfg"))
    with pytest.raises(NameInUse, match="a domain called web"):
        await import_domain.import_domain(host.environment, APPLIANCE, ImportWish("web"))
    job = await volumes.create(host.environment, VolumeRef("default", "shop-1"), 4096)
    await host.engine.wait(job.id)
    with pytest.raises(NameInUse, match="default/shop-1"):
        await import_domain.import_domain(host.environment, APPLIANCE, ImportWish())
    with pytest.raises(BadInput, match="can't be a number"):
        await import_domain.import_domain(host.environment, APPLIANCE, ImportWish("17"))
    with pytest.raises(NotFound, match="no storage pool nowhere"):
        await import_domain.import_domain(host.environment, APPLIANCE, ImportWish(pool="nowhere"))
    assert not [job for job in host.engine.all() if job.kind == "import"]
    await host.stop()


async def test_a_failed_copy_leaves_neither_volumes_nor_domain(tmp_path: Path) -> None:
    host = await booted(tmp_path)
    host.appliances.failures = [BadInput("checked and bad")]
    job = await import_domain.import_domain(host.environment, APPLIANCE, ImportWish())
    assert (await host.engine.wait(job.id)).state is JobState.FAILED
    host.appliances.failures = [Shortage("full")]
    host.appliances.appliances[APPLIANCE] = machine("bare")
    job = await import_domain.import_domain(host.environment, APPLIANCE, ImportWish())
    assert (await host.engine.wait(job.id)).state is JobState.FAILED
    assert await (await host.environment.pools.open("default")).volumes() == ()
    assert host.environment.domains.named("shop") is None
    await host.assert_consistent()
    await host.stop()


async def test_a_pool_without_room_is_told_before_there_is_a_job(tmp_path: Path) -> None:
    host = await booted(tmp_path)
    large = machine()
    disks = (replace(large.disks[0], stored=1 << 50), *large.disks[1:])
    host.appliances.appliances[APPLIANCE] = replace(large, disks=disks)
    with pytest.raises(Shortage, match="pool default has"):
        await import_domain.import_domain(host.environment, APPLIANCE, ImportWish())
    await host.stop()


async def test_an_archive_that_changes_after_it_was_looked_at_is_not_imported(tmp_path: Path) -> None:
    host = await booted(tmp_path)
    job = await import_domain.import_domain(host.environment, APPLIANCE, ImportWish())
    host.appliances.appliances[APPLIANCE] = machine("other")
    job = await host.engine.wait(job.id)
    assert job.state is JobState.FAILED and "has changed" in str(job.error)
    await host.assert_consistent()
    await host.stop()


async def test_a_cancelled_import_leaves_nothing(tmp_path: Path) -> None:
    host = await booted(tmp_path)
    job = await import_domain.import_domain(host.environment, APPLIANCE, ImportWish())
    await _until_running(host.engine, job.id)
    await host.engine.cancel(job.id)
    assert (await host.engine.wait(job.id)).state is JobState.CANCELLED
    assert await (await host.environment.pools.open("default")).volumes() == ()
    await host.assert_consistent()
    await host.stop()


async def _until_running(engine: Engine[Any], job_id: str) -> None:
    while engine.get(job_id).state is JobState.QUEUED:
        await asyncio.sleep(0)
