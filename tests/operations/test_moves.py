"""A domain goes to another host, or stays, whatever happens; it is never on both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.operations.kit import Strike, crash, fail
from tests.operations.moves_kit import Blow, TwoHosts, cancelled, serve, struck, until, until_later

from wirt.hypervisors.fake.faults import Refuse, Verb
from wirt.model.errors import BadInput, IllegalState, WirtError
from wirt.model.job import Job, JobState
from wirt.model.lifecycle import State
from wirt.model.storage import VolumeRef
from wirt.operations import backup, qos_verbs
from wirt.operations.console_past import take_piece
from wirt.operations.create import Source, create, define
from wirt.operations.handovers import MOST_PAST, Attempt, Past
from wirt.operations.migrate import MoveWish, migrate, plan_move, take_back
from wirt.operations.migrate_steps import MIGRATE
from wirt.operations.power import unpause
from wirt.operations.receipts import receipts
from wirt.operations.receive import HEALTH_S, RECEIVE
from wirt.operations.volumes import create as create_volume
from wirt.operations.volumes import resize
from wirt.peers.fake import Kind
from wirt.wire.v1_incoming import ConsolePiece

CONFIG = 'name = "web"\ntype = "pvh"\nkernel = "/boot/vmlinuz"\nmemory = 128\nvif = [""]\n'
DISK = 'disk = ["default/web,,xvda,rw"]\n'


async def two_hosts(directory: Path, *, shared: bool = True, disk: bool = False) -> TwoHosts:
    hosts = TwoHosts(directory, shared=shared)
    await hosts.boot("a")
    await hosts.boot("b")
    if disk:
        await hosts.a.engine.wait(
            (await create_volume(hosts.a.environment, VolumeRef("default", "web"), 1 << 20)).id
        )
    source = Source(CONFIG + (DISK if disk else ""), "web.cfg", "/cfg")
    await hosts.a.engine.wait((await create(hosts.a.environment, source)).id)
    guest = hosts.a.world.guest(hosts.a.environment.domains.find("web").uuid)
    guest.memory = b"what it thinks of"
    return hosts


async def move(hosts: TwoHosts, *, with_storage: bool = False) -> JobState:
    job = await start_move(hosts, with_storage=with_storage)
    await until(hosts, lambda: hosts.a.engine.get(job).state.finished)
    return hosts.a.engine.get(job).state


async def start_move(hosts: TwoHosts, *, with_storage: bool = False) -> str:
    return (await migrate(hosts.a.environment, "web", MoveWish("b", with_storage=with_storage))).id


async def settled(hosts: TwoHosts) -> str:
    """Until both hosts are at rest; the host that has the domain. Exactly one has, and the guest is whole."""
    await until(hosts, hosts.quiet)
    await until_later(hosts, 10.0)
    for host in hosts.hosts.values():
        await host.settle()
        await host.assert_consistent()
    where = [name for name, host in hosts.hosts.items() if host.environment.domains.named("web")]
    assert len(where) == 1, where
    host = hosts.hosts[where[0]]
    domain = host.environment.domains.named("web")
    assert domain is not None
    guest = host.world.guest(domain.uuid)
    assert guest.memory == b"what it thinks of"
    assert domain.state is State.RUNNING
    assert hosts.runs(domain.uuid) == where
    assert domain.incarnation is not None and "moving" not in domain.incarnation.notes
    return where[0]


async def test_it_arrives_with_what_it_had_in_mind_and_a_receipt_on_both_sides(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    epoch = hosts.a.environment.domains.find("web").epoch
    assert await move(hosts) is JobState.DONE
    assert await settled(hosts) == "b"
    assert hosts.b.environment.domains.find("web").epoch == epoch + 1
    for host in hosts.hosts.values():
        (receipt,) = await receipts(host.environment)
        assert (receipt.source, receipt.target, receipt.outcome) == ("a", "b", "runs")
        assert receipt.blackout_s is not None and receipt.forecast is not None
        assert receipt.total_s < HEALTH_S, "until it runs there; how it does is looked at after that"
        assert receipt.clock_step_s is not None, "its agent was asked"


async def test_a_paused_guest_arrives_paused(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    await hosts.a.environment.hypervisor.pause(hosts.a.environment.domains.find("web").uuid)
    await hosts.a.settle()
    assert await move(hosts) is JobState.DONE
    await until(hosts, hosts.quiet)
    assert hosts.b.environment.domains.find("web").state is State.PAUSED


async def test_a_shared_disk_is_taken_over(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, disk=True)
    assert await move(hosts) is JobState.DONE
    assert await settled(hosts) == "b"


async def test_a_disk_that_only_has_the_same_name_keeps_it_here(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, shared=False, disk=True)
    await hosts.b.engine.wait((await create_volume(hosts.b.environment, VolumeRef("default", "web"), 1 << 20)).id)
    with pytest.raises(IllegalState, match="not the same one on b"):
        await start_move(hosts)
    assert await settled(hosts) == "a"


async def test_disks_come_along_and_are_gone_here_once_the_guest_lives_there(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, shared=False, disk=True)
    assert await move(hosts, with_storage=True) is JobState.DONE
    assert await settled(hosts) == "b"
    assert not await (await hosts.a.environment.pools.open("default")).volumes()


async def test_the_plan_says_what_blocks_it_and_does_nothing(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, shared=False, disk=True)
    planned = await plan_move(hosts.a.environment, "web", MoveWish("b"))
    assert [remark.blocks for remark in planned.remarks] == [True]
    assert "--with-storage" in (planned.remarks[0].remedy or "")
    assert not any(medium.proofs for host in hosts.hosts.values() for medium in host.storage.media.values())
    assert await settled(hosts) == "a"


async def test_a_name_that_is_taken_there_is_told_before_anything_moves(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    await define(hosts.b.environment, Source(CONFIG, "web.cfg", "/cfg"))
    with pytest.raises(IllegalState, match="b has a domain called web already"):
        await start_move(hosts)


async def test_a_class_that_is_not_known_there_is_told_and_one_that_is_counts_as_it_is_there(
    tmp_path: Path,
) -> None:
    hosts = await two_hosts(tmp_path)
    for host, weight in ((hosts.a, "300"), (hosts.b, "77")):
        if host is hosts.b:
            with pytest.raises(IllegalState, match="b has no class of service gold"):
                await start_move(hosts)
        await host.engine.wait((await qos_verbs.define(host.environment, "gold", {"weight": weight})).id)
        if host is hosts.a:
            await host.engine.wait((await qos_verbs.set_class(host.environment, "web", "gold")).id)
    assert await move(hosts) is JobState.DONE
    assert await settled(hosts) == "b"
    domain = hosts.b.environment.domains.find("web")
    assert domain.domid is not None
    assert hosts.b.world.shares[hosts.b.environment.directory(domain.domid)].weight == 77


async def printed(hosts: TwoHosts, name: str) -> tuple[int, bytes]:
    environment = hosts.hosts[name].environment
    chunk = environment.hypervisor.console(environment.domains.find("web").uuid).read(0)
    return chunk.offset, chunk.data


@pytest.mark.parametrize("trouble", ["none", "lost pieces", "target dies once it has it"])
async def test_its_console_begins_where_it_was_started_with_nothing_twice(tmp_path: Path, trouble: str) -> None:
    hosts = await two_hosts(tmp_path)
    guest = hosts.a.world.guest(hosts.a.environment.domains.find("web").uuid)
    before = (await printed(hosts, "a"))[1]
    guest.print(b"".join(b"line %04d\n" % number for number in range(2000)))
    lines = (await printed(hosts, "a"))[1]
    strike = Strike("receive", "own", "after", crash)
    await hosts.crash("a")
    await hosts.boot(
        "a", Strike("migrate", "memory", "after", lambda job: guest.console.print(b"its last words\n"))
    )
    if trouble == "target dies once it has it":
        await hosts.crash("b")
        await hosts.boot("b", strike)
    elif trouble == "lost pieces":
        hosts.links.inject(Kind.LOST_AFTER, "POST", "/console")
    await begin(hosts)
    if trouble == "target dies once it has it":
        await until(hosts, lambda: strike.struck)
        await hosts.crash("b")
        await hosts.clock.advance(0.5)
        await hosts.boot("b")
    assert await settled(hosts) == "b"
    hosts.b.world.guest(hosts.b.environment.domains.find("web").uuid).print(b"and goes on\n")
    offset, data = await printed(hosts, "b")
    assert offset == 0 and data.startswith(before)
    assert data == lines + b"its last words\nand goes on\n"


async def test_of_a_long_past_the_newest_comes_along(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    guest = hosts.a.world.guest(hosts.a.environment.domains.find("web").uuid)
    guest.print(b"x" * 200_000)
    kept = await printed(hosts, "a")
    assert kept[0] > 0
    assert await move(hosts) is JobState.DONE
    assert await printed(hosts, "b") == kept


@pytest.mark.parametrize("data", ["no base64!", "QUJD" * 60_000])
async def test_a_console_piece_that_can_not_be_right_is_refused_and_keeps_nobody_from_leaving(data: str) -> None:
    attempt = Attempt("job", 0.0)
    with pytest.raises(BadInput):
        take_piece(attempt, ConsolePiece(0, data))
    with pytest.raises(BadInput):
        take_piece(attempt, ConsolePiece(-1, "QUJD"))
    assert attempt.past.data == b""


def test_pieces_of_the_past_that_overlap_or_lack_something() -> None:
    past = Past()
    past.add(10, b"abc")
    past.add(11, b"bcd")
    past.add(10, b"a")
    assert (past.offset, bytes(past.data)) == (10, b"abcd")
    past.add(20, b"xyz")
    assert (past.offset, bytes(past.data)) == (20, b"xyz"), "of what is before a gap nothing is kept"
    past.add(23, b"." * MOST_PAST)
    assert (past.offset, len(past.data)) == (23, MOST_PAST)


SIDES = {"migrate": ("a", MIGRATE), "receive": ("b", RECEIVE)}
STEPS = [(kind, step.name) for kind, (_, operation) in SIDES.items() for step in operation.steps]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", [fail, crash], ids=["fail", "crash"])
@pytest.mark.parametrize(("kind", "step"), STEPS, ids=[f"{kind}-{step}" for kind, step in STEPS])
async def test_trouble_in_each_step_of_either_side(
    tmp_path: Path, kind: str, step: str, what: Callable[[Job], None], when: str
) -> None:
    hosts, host = await two_hosts(tmp_path, disk=True), SIDES[kind][0]
    await struck(hosts, Blow(host, kind, step, when, what), begin)
    await settled(hosts)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", [step.name for step in MIGRATE.steps])
async def test_a_move_that_is_cancelled_in_each_step(tmp_path: Path, step: str, when: str) -> None:
    hosts = await two_hosts(tmp_path, disk=True)
    await cancelled(hosts, "migrate", step, when, begin)
    where = await settled(hosts)
    (job,) = [job for _, job in hosts.jobs() if job.kind == "migrate"]
    early = MIGRATE.steps[[each.name for each in MIGRATE.steps].index(step)].interruptible
    if early:
        assert (where, job.state) == ("a", JobState.CANCELLED)
    else:
        assert (where, job.state) == ("b", JobState.DONE)


@pytest.mark.parametrize("turns", [1, 2, 5])
async def test_one_that_is_cancelled_again_and_again_is_undone_all_the_same(tmp_path: Path, turns: int) -> None:
    hosts = await two_hosts(tmp_path)
    job = await start_move(hosts)
    await until(hosts, lambda: hosts.a.engine.get(job).message.startswith("memory"))
    for _ in range(100):
        await hosts.a.engine.cancel(job)
        for _ in range(turns):
            await asyncio.sleep(0)
    assert await settled(hosts) == "a"
    assert hosts.a.engine.get(job).state is JobState.CANCELLED


async def test_somebody_swears_that_the_other_host_is_lost_and_has_the_guest_back(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    hosts.links.inject(Kind.CUT_BEFORE, path="leave")
    await begin(hosts)
    guest = hosts.a.environment.domains.find("web").uuid
    await until(hosts, lambda: any("stands still" in job.message for _, job in hosts.jobs()))
    with pytest.raises(IllegalState, match="--take-back"):
        await unpause(hosts.a.environment, "web")
    hosts.hosts["b"].world.lose_power()
    await take_back(hosts.a.environment, "web")
    await until(hosts, lambda: all(job.state.finished for job in hosts.a.engine.all()))
    await hosts.a.settle()
    assert hosts.runs(guest) == ["a"]


async def test_nobody_begins_a_backup_of_a_domain_that_is_on_its_way(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, disk=True)
    begun: list[Job] = []
    await hosts.crash("a")
    await hosts.boot("a", Strike("migrate", "memory", "before", begun.append))
    await begin(hosts)
    await until(hosts, lambda: bool(begun))
    with pytest.raises(IllegalState, match="on its way to b"):
        await backup.create(hosts.a.environment, "web", str(tmp_path / "backups"), "/")
    with pytest.raises(IllegalState, match="on its way to b"):
        await resize(hosts.a.environment, VolumeRef("default", "web"), 2 << 20)
    assert await settled(hosts) == "b"


async def test_a_daemon_that_died_while_hosts_agreed_leaves_no_mark_beside_a_disk(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path, disk=True)
    await hosts.crash("a")
    await hosts.boot("a")
    hosts.links.inject(Kind.DELAYED, "POST", "/v1/incoming", times=2, delay_s=5.0)
    beginning = asyncio.create_task(begin(hosts))
    await until(hosts, beginning.done)
    (medium,) = hosts.a.storage.media.values()
    await until(hosts, lambda: bool(medium.proofs))
    (mark,) = medium.proofs
    await hosts.crash("a")
    medium.proofs.add(mark)  # a process that is killed tidies nothing up, which one in memory does
    await hosts.boot("a")
    await settled(hosts)
    assert not medium.proofs


async def begin(hosts: TwoHosts) -> None:
    try:
        await start_move(hosts)
    except WirtError:
        pytest.fail("it did not even begin")


async def test_a_run_that_died_over_there_before_the_source_left_is_not_what_goes_on(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    uuid = hosts.a.environment.domains.find("web").uuid
    hosts.links.inject(Kind.DELAYED, "POST", "leave", delay_s=1.0)
    await begin(hosts)
    await until(hosts, lambda: any(each.phase == "arrived" for each in hosts.b.environment.incoming.values()))
    (attempt,) = hosts.b.environment.incoming.values()
    assert not attempt.leave.is_set()
    hosts.b.world.guest(uuid).vanish()
    assert await settled(hosts) == "a"


async def test_a_guest_does_not_stand_still_for_what_it_has_printed(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    hosts.links.inject(Kind.DELAYED, "POST", "/console", delay_s=8.0)
    assert await move(hosts) is JobState.DONE
    assert await settled(hosts) == "b"
    (receipt,) = await receipts(hosts.b.environment)
    assert receipt.blackout_s is not None and receipt.blackout_s < 1
    assert (await printed(hosts, "b"))[1], "it went with the source's leave"


async def test_memory_is_on_its_way_while_the_hypervisor_over_there_starts(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)
    hosts.b.world.latency_s[Verb.LAUNCH] = 3.0
    job = await start_move(hosts)
    await until(hosts, lambda: hosts.a.engine.get(job).message.startswith("memory"))
    assert [each.message for each in hosts.b.engine.all()] == ["launch"]
    assert await settled(hosts) == "b"


@pytest.mark.parametrize("after_s", [0.0, 0.03, 3.0], ids=["at once", "in the middle of memory", "at the end"])
async def test_a_hypervisor_over_there_that_does_not_start_says_why_and_the_guest_stays(
    tmp_path: Path, after_s: float
) -> None:
    hosts = await two_hosts(tmp_path)
    hosts.b.world.latency_s[Verb.LAUNCH] = after_s
    hosts.b.world.fail(Verb.LAUNCH, Refuse("no more room"))
    assert await move(hosts) is JobState.FAILED
    (job,) = (job for _, job in hosts.jobs() if job.kind == "migrate")
    assert job.error is not None and "no more room" in job.error.message
    assert await settled(hosts) == "a"
    (attempt,) = hosts.b.environment.incoming.values()
    assert not hosts.links.doors, f"nobody comes in any more: {attempt.phase}"


async def test_between_an_older_wirt_and_this_one_hypervisors_protect_memory_themselves(tmp_path: Path) -> None:
    hosts = await two_hosts(tmp_path)

    def older(method: str, path: str, body: Any) -> Any:
        known = body if not isinstance(body, dict) else {k: v for k, v in body.items() if k != "tunnels"}
        return serve(hosts.b, method, path, known)

    hosts.links.serve("b", older)
    hosts.b.world.latency_s[Verb.LAUNCH] = 3.0
    job = await start_move(hosts)
    await until(hosts, lambda: hosts.a.engine.get(job).message.startswith("memory"))
    assert [each.message for each in hosts.b.engine.all()] == ["receive"], "nothing comes before it is waited for"
    assert await settled(hosts) == "b"
