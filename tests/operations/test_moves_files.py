"""A domain's kernel, initial RAM disk and own firmware go along, and stay as long as a domain needs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tests.operations.kit import crash, fail
from tests.operations.moves_kit import Blow, TwoHosts, struck, troubled, until
from tests.operations.test_moves import SIDES, STEPS, settled

from wirt.model.errors import BadInput, IllegalState, Shortage
from wirt.model.job import Job, JobState
from wirt.operations.create import Source, create
from wirt.operations.destroy import destroy
from wirt.operations.migrate import MovePlan, MoveWish, migrate, plan_move
from wirt.ports.boot_files import MOST_BYTES

KERNEL, RAMDISK, FIRMWARE = "/nowhere/vmlinuz", "/nowhere/initrd.img", "/nowhere/bios.bin"
CONFIG = f'name = "web"\ntype = "pvh"\nkernel = "{KERNEL}"\nramdisk = "{RAMDISK}"\nmemory = 128\n'


async def two_hosts(directory: Path, *, names: tuple[str, ...] = ("web",)) -> TwoHosts:
    """``b`` has neither of the files."""
    hosts = TwoHosts(directory, shared=False)
    await hosts.boot("a")
    await hosts.boot("b")
    hosts.a.layer_files.files |= {KERNEL: b"the kernel", RAMDISK: b"the ram disk"}
    hosts.b.machine.absent |= {KERNEL: "no such file or directory", RAMDISK: "no such file or directory"}
    for name in names:
        text = CONFIG.replace('"web"', f'"{name}"')
        await hosts.a.engine.wait((await create(hosts.a.environment, Source(text, "web.cfg", "/cfg"))).id)
        hosts.a.world.guest(hosts.a.environment.domains.find(name).uuid).memory = b"what it thinks of"
    return hosts


async def with_firmware(directory: Path) -> TwoHosts:
    """A guest that starts from firmware of its own, which ``b`` has not."""
    hosts = TwoHosts(directory, shared=False)
    await hosts.boot("a")
    await hosts.boot("b")
    hosts.a.layer_files.files[FIRMWARE] = b"the firmware"
    hosts.b.machine.absent[FIRMWARE] = "no such file or directory"
    source = Source(f'name = "web"\ntype = "hvm"\nfirmware = "{FIRMWARE}"\nmemory = 128\n', "web.cfg", "/cfg")
    await hosts.a.engine.wait((await create(hosts.a.environment, source)).id)
    hosts.a.world.guest(hosts.a.environment.domains.find("web").uuid).memory = b"what it thinks of"
    return hosts


async def move(hosts: TwoHosts, source: str = "a", *, name: str = "web") -> Job:
    host, target = hosts.hosts[source], "b" if source == "a" else "a"
    job = (await migrate(host.environment, name, MoveWish(target))).id
    await until(hosts, lambda: host.engine.get(job).state.finished)
    await until(hosts, hosts.quiet)
    return host.engine.get(job)


async def begin(hosts: TwoHosts) -> str:
    return (await migrate(hosts.a.environment, "web", MoveWish("b"))).id


async def plan(hosts: TwoHosts, name: str = "web") -> MovePlan:
    return await plan_move(hosts.a.environment, name, MoveWish("b"))


def kept(hosts: TwoHosts) -> list[bytes]:
    return sorted(data for path, data in hosts.b.layer_files.files.items() if path.startswith("/boot-files/"))


BOTH = [b"the kernel", b"the ram disk"]


async def test_they_are_sent_along_and_named_where_they_are(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    planned = await plan(hosts)
    assert [(each.key, each.copied) for each in planned.terms.files] == [("kernel", True), ("ramdisk", True)]
    assert kept(hosts) == [], "nothing has been done"
    assert (await move(hosts)).state is JobState.DONE
    assert await settled(hosts) == "b"
    config = hosts.b.environment.domains.find("web").config
    assert config.kernel is not None and config.ramdisk is not None
    assert hosts.b.layer_files.files[config.kernel] == b"the kernel"
    assert hosts.b.layer_files.files[config.ramdisk] == b"the ram disk"


async def test_a_domain_that_comes_back_names_its_own_again_and_leaves_none(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    before = hosts.a.environment.domains.find("web").text
    await move(hosts)
    assert (await move(hosts, "b")).state is JobState.DONE
    assert await settled(hosts) == "a"
    assert hosts.a.environment.domains.find("web").text == before
    assert kept(hosts) == []


async def test_the_same_file_is_used_where_it_is(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    hosts.b.machine.absent.clear()
    hosts.b.layer_files.files |= {KERNEL: b"the kernel", RAMDISK: b"the ram disk"}
    assert [each.copied for each in (await plan(hosts)).terms.files] == [False, False]
    await move(hosts)
    assert hosts.b.environment.domains.find("web").config.kernel == KERNEL
    assert kept(hosts) == []


async def test_another_kernel_of_the_same_name_is_not_taken_for_it(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    hosts.b.machine.absent.clear()
    hosts.b.layer_files.files |= {KERNEL: b"a newer kernel", RAMDISK: b"the ram disk"}
    planned = await plan(hosts)
    assert any("is another kernel on b" in remark.what for remark in planned.remarks)
    await move(hosts)
    assert kept(hosts) == [b"the kernel"]
    assert hosts.b.environment.domains.find("web").config.kernel != KERNEL


async def test_firmware_of_its_own_is_sent_along_and_is_the_same_when_it_comes_back(tmp_path: Path) -> None:
    hosts = await with_firmware(tmp_path)
    before = hosts.a.environment.domains.find("web").text
    assert [(each.key, each.copied) for each in (await plan(hosts)).terms.files] == [("firmware", True)]
    assert (await move(hosts)).state is JobState.DONE
    assert await settled(hosts) == "b"
    path = hosts.b.environment.domains.find("web").config.firmware_path
    assert path is not None and hosts.b.layer_files.files[path] == b"the firmware"
    assert (await move(hosts, "b")).state is JobState.DONE
    assert hosts.a.environment.domains.find("web").text == before and kept(hosts) == []


async def test_other_firmware_of_the_same_name_is_not_taken_for_it(tmp_path: Path) -> None:
    hosts = await with_firmware(tmp_path)
    hosts.b.machine.absent.clear()
    hosts.b.layer_files.files[FIRMWARE] = b"another one"
    assert any("is another firmware on b" in remark.what for remark in (await plan(hosts)).remarks)
    await move(hosts)
    assert kept(hosts) == [b"the firmware"]


async def test_firmware_that_can_not_be_read_here_and_is_not_there_keeps_the_guest_here(tmp_path: Path) -> None:
    hosts = await with_firmware(tmp_path)
    del hosts.a.layer_files.files[FIRMWARE]
    with pytest.raises(IllegalState, match=f"{FIRMWARE}: no such file") as refused:
        await migrate(hosts.a.environment, "web", MoveWish("b"))
    assert "check the path" in str(refused.value.hint)
    assert await settled(hosts) == "a"


async def test_two_domains_share_what_came_and_the_last_one_takes_it_away(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, names=("web", "web2"))
    jobs = [(await migrate(hosts.a.environment, name, MoveWish("b"))).id for name in ("web", "web2")]
    await until(hosts, lambda: all(hosts.a.engine.get(job).state.finished for job in jobs))
    await until(hosts, hosts.quiet)
    assert [hosts.a.engine.get(job).state for job in jobs] == [JobState.DONE, JobState.DONE]
    assert kept(hosts) == BOTH
    await hosts.b.engine.wait((await destroy(hosts.b.environment, "web")).id)
    assert kept(hosts) == BOTH
    await hosts.b.engine.wait((await destroy(hosts.b.environment, "web2")).id)
    assert kept(hosts) == []


async def test_no_room_for_a_kernel_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    hosts.b.layer_files.failures = [Shortage("no room for vmlinuz")]
    job = await move(hosts)
    assert job.error is not None and "no room for vmlinuz" in job.error.message
    assert await settled(hosts) == "a"
    assert kept(hosts) == []


async def test_a_file_is_read_anew_once_it_has_changed_and_no_sooner(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    hosts.a.storage.stamped[KERNEL] = "of then"
    before = (await plan(hosts)).offer.files[0]
    hosts.a.layer_files.files[KERNEL] = b"another one"
    assert (await plan(hosts)).offer.files[0] == before, "it was not looked into"
    hosts.a.storage.stamped[KERNEL] = "of now"
    assert (await plan(hosts)).offer.files[0].digest != before.digest


@pytest.mark.parametrize(
    "change",
    [
        {"length": MOST_BYTES + 1},
        {"digest": "../../etc"},
        {"path": "boot/vmlinuz"},
        {"path": "/boot/\nvmlinuz"},
        {"key": "firmware"},
    ],
)
async def test_an_offer_that_can_not_be_right_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    hosts = await two_hosts(tmp_path)
    offer = (await plan(hosts)).offer
    evil = replace(offer, files=[replace(offer.files[0], **change)])  # type: ignore[arg-type]
    peers = hosts.a.environment.peers
    assert peers is not None
    peer = await peers.reach("b")
    with pytest.raises(BadInput, match="offered"):
        await peer.call("POST", "/v1/incoming/terms", asdict(evil))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", [fail, crash], ids=["fail", "crash"])
@pytest.mark.parametrize(("kind", "step"), STEPS, ids=[f"{kind}-{step}" for kind, step in STEPS])
async def test_trouble_in_each_step_of_either_side(
    tmp_path: Path, kind: str, step: str, what: Callable[[Job], None], when: str
) -> None:
    hosts, host = await two_hosts(tmp_path), SIDES[kind][0]
    await struck(hosts, Blow(host, kind, step, when, what), begin)
    where = await settled(hosts)
    assert kept(hosts) == (BOTH if where == "b" else [])


@pytest.mark.parametrize("delay_s", [0.01, 0.03, 0.05, 0.08])
@pytest.mark.parametrize("trouble", ["cancel", "cut", "target dies"])
async def test_trouble_while_they_are_on_their_way(tmp_path: Path, trouble: str, delay_s: float) -> None:
    hosts = await two_hosts(tmp_path)
    job = await begin(hosts)
    await troubled(hosts, job, trouble, delay_s)
    assert await settled(hosts) == "a"
    assert kept(hosts) == []
