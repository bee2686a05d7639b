"""What an image stands on is remembered: a guest that rewrites its image's header gets nothing by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost, Strike

from wirt.model.errors import CorruptState, ImageChanged, NotFound
from wirt.model.job import JobState
from wirt.model.lifecycle import State
from wirt.operations.backing import accept
from wirt.operations.create import Source, create, define, preview
from wirt.operations.destroy import destroy
from wirt.operations.records import backing_key
from wirt.operations.start import start
from wirt.ports.store import Put

WEB = """name = "web"
type = "hvm"
memory = 128
on_reboot = "restart"
vif = [""]
disk = ["/srv/web.qcow2,qcow2,xvda,w"]
"""
SECRET = "/etc/shadow"


@pytest.fixture
async def host(tmp_path: Path) -> SimulatedHost:
    host = SimulatedHost(tmp_path)
    await host.boot()
    return host


async def ran_once(host: SimulatedHost) -> None:
    environment = host.environment
    await define(environment, Source(WEB, "web.cfg", "/"))
    job = await environment.jobs.wait((await start(environment, "web")).id)
    assert job.state is JobState.DONE, job.error
    await ended(host)


async def ended(host: SimulatedHost) -> None:
    job = await host.environment.jobs.wait((await destroy(host.environment, "web")).id)
    assert job.state is JobState.DONE, job.error
    await host.settle()


async def test_an_image_that_stands_on_another_file_than_before_is_not_started(host: SimulatedHost) -> None:
    await ran_once(host)
    host.world.backing["/srv/web.qcow2"] = (SECRET,)
    with pytest.raises(ImageChanged, match=f"stands on {SECRET}, and .* it stood on nothing") as caught:
        await start(host.environment, "web")
    assert caught.value.hint is not None and "wirt image accept /srv/web.qcow2" in caught.value.hint
    assert host.environment.domains.find("web").incarnation is None


async def test_nor_under_another_domains_name(host: SimulatedHost) -> None:
    await ran_once(host)
    host.world.backing["/srv/web.qcow2"] = (SECRET,)
    other = Source(WEB.replace('"web"', '"other"'), "other.cfg", "/")
    for verb in (preview, create):
        with pytest.raises(ImageChanged):
            await verb(host.environment, other)


async def test_nor_when_it_is_the_guest_that_restarts(host: SimulatedHost) -> None:
    await create(host.environment, Source(WEB, "web.cfg", "/"))
    await host.settle()
    domain = host.environment.domains.find("web")
    assert domain.state is State.RUNNING
    host.world.backing["/srv/web.qcow2"] = (SECRET,)
    host.world.guest(domain.uuid).reboot()
    await host.settle()
    assert not [each for each in host.environment.domains if each.state is State.RUNNING]
    failed = [job for job in host.environment.jobs.all() if job.error is not None]
    assert [job.error.code for job in failed if job.error is not None] == ["image-changed"]


async def test_a_start_that_is_refused_at_the_last_moment_leaves_no_card_behind(host: SimulatedHost) -> None:
    await ran_once(host)
    await host.crash()
    changed = Strike(
        "start", "plug", "after", lambda job: host.world.backing.update({"/srv/web.qcow2": (SECRET,)})
    )
    await host.boot(changed)
    job = await host.environment.jobs.wait((await start(host.environment, "web")).id)
    assert changed.struck and job.error is not None and job.error.code == "image-changed"
    assert host.network.taps == {}


async def test_it_is_remembered_before_the_guest_runs_and_by_the_next_daemon(host: SimulatedHost) -> None:
    host.world.backing["/srv/web.qcow2"] = ("/srv/base.qcow2", "/srv/root.raw")
    await ran_once(host)
    await host.crash()
    await host.boot()
    host.world.backing["/srv/web.qcow2"] = ("/srv/base.qcow2",)
    with pytest.raises(ImageChanged, match=r"stood on /srv/base.qcow2 on /srv/root.raw"):
        await start(host.environment, "web")


async def test_what_the_administrator_accepts_is_what_is_remembered_next(host: SimulatedHost) -> None:
    await ran_once(host)
    host.world.backing["/srv/web.qcow2"] = ("/srv/base.qcow2",)
    await accept(host.environment, "/srv/web.qcow2")
    job = await host.environment.jobs.wait((await start(host.environment, "web")).id)
    assert job.state is JobState.DONE
    await ended(host)
    host.world.backing["/srv/web.qcow2"] = ()
    with pytest.raises(ImageChanged):
        await start(host.environment, "web")


async def test_only_what_is_known_can_be_accepted(host: SimulatedHost) -> None:
    with pytest.raises(NotFound, match=r"was not used yet"):
        await accept(host.environment, "/srv/other.qcow2")


async def test_a_record_that_can_not_be_read_is_accepted_away(host: SimulatedHost) -> None:
    await ran_once(host)
    await host.store.commit(Put(backing_key("/srv/web.qcow2"), b"{"))
    with pytest.raises(CorruptState, match="backing"):
        await start(host.environment, "web")
    await accept(host.environment, "/srv/web.qcow2")
    await start(host.environment, "web")
