"""Several domains move side by side, as many as both hosts let; the others wait and are not refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tests.operations.moves_kit import TwoHosts, until

from wirt.model.errors import IllegalState
from wirt.model.job import Job, JobState
from wirt.model.units import GIB, MIB
from wirt.operations.create import Source, create
from wirt.operations.migrate import MoveWish, migrate
from wirt.operations.migrate_link import Link
from wirt.operations.turns import promised_bytes

NAMES = ("web", "db", "mail", "git")


async def several(directory: Path, *, leave: int = 2, arrive: int = 2, memory: int = 128) -> TwoHosts:
    hosts = TwoHosts(directory)
    for name, at_once in (("a", leave), ("b", arrive)):
        await hosts.boot(name)
        environment = hosts.hosts[name].environment
        environment.settings = dataclasses.replace(environment.settings, migrations_at_once=at_once)
    for name in NAMES:
        text = f'name = "{name}"\ntype = "pvh"\nkernel = "/boot/vmlinuz"\nmemory = {memory}\n'
        await hosts.a.engine.wait((await create(hosts.a.environment, Source(text, "c", "/c"))).id)
    return hosts


async def begin(hosts: TwoHosts, **wish: object) -> list[str]:
    words = MoveWish("b", **wish)  # type: ignore[arg-type]
    return [(await migrate(hosts.a.environment, name, words)).id for name in NAMES]


def arriving(hosts: TwoHosts) -> list[Job]:
    """Those that have not changed hands yet."""
    return [
        job
        for job in hosts.b.engine.all()
        if job.kind == "receive" and not job.state.finished and str(job.steps[6].state) != "done"
    ]


async def all_over(hosts: TwoHosts, jobs: list[str]) -> tuple[int, set[str]]:
    """Until all are; the most that came at once, and what those that waited said."""
    most, said = 0, set[str]()

    def over() -> bool:
        nonlocal most
        most = max(most, len(arriving(hosts)))
        said.update(job.message for job in hosts.a.engine.all() if job.message.startswith("waits"))
        return all(hosts.a.engine.get(job).state.finished for job in jobs)

    await until(hosts, over)
    return most, said


@pytest.mark.parametrize(
    ("leave", "arrive", "at_once", "words"),
    [
        (2, 4, None, "waits: 2 move from this host already"),
        (4, 1, None, "waits: 1 come to b before it"),
        (4, 4, 1, "waits: 1 of this command move already"),
    ],
    ids=["leaving", "arriving", "command"],
)
async def test_no_more_move_than_may_and_all_arrive(
    tmp_path: Path, leave: int, arrive: int, at_once: int | None, words: str
) -> None:
    hosts = await several(tmp_path, leave=leave, arrive=arrive)
    jobs = await begin(hosts, batch="x", at_once=at_once)
    most, said = await all_over(hosts, jobs)
    assert [hosts.a.engine.get(job).error for job in jobs] == [None] * len(NAMES)
    assert most == min(leave, arrive, at_once or 99)
    assert words in said
    assert sorted(each.name for each in hosts.b.environment.domains) == sorted(NAMES)
    assert not list(hosts.a.environment.domains)


async def test_one_that_waits_can_be_cancelled_and_the_others_go_on(tmp_path: Path) -> None:
    hosts = await several(tmp_path, leave=1)
    jobs = await begin(hosts)
    await until(hosts, lambda: hosts.a.engine.get(jobs[-1]).message.startswith("waits"))
    await hosts.a.engine.cancel(jobs[-1])
    await all_over(hosts, jobs)
    states = [hosts.a.engine.get(job).state for job in jobs]
    assert states == [JobState.DONE] * 3 + [JobState.CANCELLED]
    domain = hosts.a.environment.domains.find(NAMES[-1])
    assert hosts.runs(domain.uuid) == ["a"]
    assert domain.incarnation is not None and "moving" not in domain.incarnation.notes


async def test_a_daemon_that_dies_with_a_queue_leaves_each_guest_in_one_place(tmp_path: Path) -> None:
    hosts = await several(tmp_path, leave=1)
    await begin(hosts)
    await until(hosts, lambda: any(job.message.startswith("memory") for job in hosts.a.engine.all()))
    await hosts.crash("a")
    await hosts.clock.advance(0.5)
    await hosts.boot("a")
    await until(hosts, hosts.quiet)
    found = [each.name for host in hosts.hosts.values() for each in host.environment.domains]
    assert sorted(found) == sorted(NAMES)


async def test_the_same_memory_is_not_promised_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = await several(tmp_path, leave=4, arrive=4, memory=1024)
    hosts.b.machine.available_bytes = 2 * GIB + 512 * MIB  # two of them, with what is kept for Domain-0
    seen: list[int] = []
    prepare = Link.prepare

    async def looking(link: Link, offer: dict[str, object]) -> None:
        seen.append(promised_bytes(hosts.b.environment, hosts.b.environment.new_uuid()))
        await prepare(link, offer)

    monkeypatch.setattr(Link, "prepare", looking)
    jobs, refused = [], []
    for name in NAMES:
        try:
            jobs.append((await migrate(hosts.a.environment, name, MoveWish("b"))).id)
        except IllegalState as error:  # the others have taken it by now
            refused.append(str(error))
    await all_over(hosts, jobs)
    refused += [str(gone) for job in jobs if (gone := hosts.a.engine.get(job).error) is not None]
    assert max(seen) <= 2 * GIB
    assert all("MiB are free" in error for error in refused)
    assert len(refused) <= 2


async def test_what_is_on_its_way_is_not_given_to_a_domain_that_starts(tmp_path: Path) -> None:
    hosts = await several(tmp_path, memory=1024)
    hosts.b.machine.available_bytes = 2 * GIB
    job = (await migrate(hosts.a.environment, "web", MoveWish("b"))).id
    await until(hosts, lambda: bool(arriving(hosts)))
    text = 'name = "new"\ntype = "pvh"\nkernel = "/boot/vmlinuz"\nmemory = 1024\n'
    with pytest.raises(Exception, match="768 MiB are free"):
        await create(hosts.b.environment, Source(text, "c", "/c"))
    await until(hosts, lambda: hosts.a.engine.get(job).state.finished)
    assert hosts.a.engine.get(job).error is None
    await hosts.b.engine.wait((await create(hosts.b.environment, Source(text, "c", "/c"))).id)


async def test_one_that_comes_after_others_have_come_does_not_wait(tmp_path: Path) -> None:
    hosts = await several(tmp_path, leave=1, arrive=1)
    for name in NAMES:
        began = hosts.clock.monotonic()
        job = (await migrate(hosts.a.environment, name, MoveWish("b"))).id
        _, said = await all_over(hosts, [job])
        assert not said, said
        assert hosts.clock.monotonic() - began < 30


async def test_no_domain_at_once_is_refused(tmp_path: Path) -> None:
    hosts = await several(tmp_path)
    with pytest.raises(Exception, match="none"):
        await migrate(hosts.a.environment, "web", MoveWish("b", at_once=0))
