"""``wirt disk-qos``: kept in the configuration, in force at once, and taken up by every later run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost, Strike, config, crash

from wirt.config.xlcfg.diskqos import read_words
from wirt.hypervisors.fake import Refuse, Verb
from wirt.model.diskqos import UNLIMITED, DiskQos
from wirt.model.errors import BadInput, NotFound
from wirt.model.job import Job, JobState
from wirt.operations.create import Source, define
from wirt.operations.destroy import destroy
from wirt.operations.disk_qos import limit, limits
from wirt.operations.jobs.step import JobKind
from wirt.operations.start import start

TWO = 'disk = ["/a.img,raw,xvda,rw", "/b.img,raw,xvdb,rw,iops=7", "/c.iso,raw,hdc,cdrom"]'


async def up(tmp_path: Path, hooks: Strike | None = None) -> SimulatedHost:
    host = SimulatedHost(tmp_path)
    await (host.boot() if hooks is None else host.boot(hooks))
    await define(host.environment, Source(config("web", TWO), "web.cfg", "/cfg"))
    await host.engine.wait((await start(host.environment, "web")).id)
    return host


async def change(host: SimulatedHost, vdev: str, words: Mapping[str, str], *, anew: bool = False) -> Job:
    job = await limit(host.environment, "web", vdev, words, anew=anew)
    return await host.engine.wait(job.id)


async def now(host: SimulatedHost) -> dict[str, tuple[DiskQos, DiskQos | None]]:
    return {disk.vdev: (disk.own, disk.now) for disk in await limits(host.environment, "web")}


async def test_limits_hold_at_once_and_in_the_next_run(tmp_path: Path) -> None:
    host = await up(tmp_path)
    seven, hundred = read_words({"iops": "7"}), read_words({"iops": "100", "bps": "1M"})
    assert await now(host) == {"xvda": (UNLIMITED, UNLIMITED), "xvdb": (seven, seven)}
    assert (await change(host, "xvda", {"iops": "100", "bps": "1M"})).state is JobState.DONE
    assert await now(host) == {"xvda": (hundred, hundred), "xvdb": (seven, seven)}
    await host.engine.wait((await destroy(host.environment, "web")).id)
    await host.settle()
    assert await now(host) == {"xvda": (hundred, None), "xvdb": (seven, None)}
    assert (await change(host, "xvda", {"iops": "0"})).state is JobState.DONE
    await host.settle()
    await host.engine.wait((await start(host.environment, "web")).id)
    only = read_words({"bps": "1M"})
    assert await now(host) == {"xvda": (only, only), "xvdb": (seven, seven)}
    assert (await change(host, "xvda", {}, anew=True)).state is JobState.DONE
    assert (await now(host))["xvda"] == (UNLIMITED, UNLIMITED)
    await host.stop()


async def test_a_group_is_joined_changed_and_left(tmp_path: Path) -> None:
    host = await up(tmp_path)
    await change(host, "xvdb", {"qos-group": "data"})
    await change(host, "xvda", {"qos-group": "data"})
    shared = read_words({"iops": "7", "qos-group": "data"})
    assert await now(host) == {"xvda": (DiskQos(group="data"), shared), "xvdb": (shared, shared)}
    with pytest.raises(BadInput, match="different limits"):
        await limit(host.environment, "web", "xvda", {"iops": "8"})
    await change(host, "xvdb", {"iops": "9"})
    more = read_words({"iops": "9", "qos-group": "data"})
    assert await now(host) == {"xvda": (DiskQos(group="data"), more), "xvdb": (more, more)}
    await change(host, "xvda", {"qos-group": ""})
    assert (await now(host))["xvda"] == (UNLIMITED, UNLIMITED)
    await host.stop()


async def test_what_can_not_be_is_refused_before_there_is_a_job(tmp_path: Path) -> None:
    host = await up(tmp_path)
    for vdev, words, kind, said in (
        ("xvdz", {"iops": "1"}, NotFound, "it has xvda, xvdb"),
        ("hdc", {"iops": "1"}, BadInput, "cdrom"),
        ("xvda", {"bps": "1"}, BadInput, "from 4096 to"),
        ("xvda", {}, BadInput, "nothing to change"),
        ("xvda", {"iops-burst": "10"}, BadInput, "needs iops"),
    ):
        with pytest.raises(kind) as caught:
            await limit(host.environment, "web", vdev, words)
        assert said in f"{caught.value} {caught.value.hint}"
    assert not [job for job in host.engine.all() if job.kind == JobKind.DISK_QOS]
    await host.stop()


async def test_a_hypervisor_that_refuses_leaves_the_limits_of_before(tmp_path: Path) -> None:
    host = await up(tmp_path)
    host.world.fail(Verb.THROTTLE_DISK, Refuse("no"))
    assert (await change(host, "xvda", {"iops": "100"})).state is JobState.FAILED
    assert (await now(host))["xvda"] == (UNLIMITED, UNLIMITED)
    await host.stop()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["throttle", "record"])
async def test_a_daemon_that_dies_meanwhile_leaves_what_is_recorded_in_force(
    tmp_path: Path, step: str, when: str
) -> None:
    host = await up(tmp_path, Strike(JobKind.DISK_QOS, step, when, crash))
    await limit(host.environment, "web", "xvda", {"iops": "100"})
    await host.settle()
    await host.crash()
    await host.boot()
    await host.settle()
    hundred = read_words({"iops": "100"})
    assert (await now(host))["xvda"] == (hundred, hundred)
    await host.stop()
