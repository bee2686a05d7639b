"""Classes of service: laid on who runs with them, changed for all of them, and told where they can't be."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost, Strike, config, crash, fail

from wirt.config.qos import words_of
from wirt.config.xlcfg.diskqos import read_words
from wirt.hypervisors.fake import FakeGuest, Refuse, Verb
from wirt.model.devices import Rate
from wirt.model.diskqos import DiskQos
from wirt.model.errors import BadInput, NameInUse, NotFound, ResourceBusy
from wirt.model.job import Job, JobState
from wirt.model.units import MIB
from wirt.network.fake import FakeNetwork
from wirt.operations import disk_qos, memory, qos_verbs, sched_verbs, vif_rate
from wirt.operations.create import Source, create, define
from wirt.operations.destroy import destroy
from wirt.operations.jobs.step import JobKind
from wirt.operations.reconcile.memory_limits import MemoryLimitsLoop
from wirt.operations.start import start
from wirt.plan.qos import Origin

GOLD = {"weight": "512", "cap": "50", "iops": "500", "rate": "8Mb/s", "memory-guarantee": "200"}
MORE = 'qos = "gold"\nmaxmem = 512\nvif = [""]\ndisk = ["/{name}.img,raw,xvda,rw"]'
LIMITED = read_words({"iops": "500"})


async def ended(host: SimulatedHost, job: Job) -> Job:
    return await host.engine.wait(job.id)


async def up(tmp_path: Path, *names: str, hooks: Strike | None = None) -> SimulatedHost:
    host = SimulatedHost(tmp_path)
    await (host.boot() if hooks is None else host.boot(hooks))
    await ended(host, await qos_verbs.define(host.environment, "gold", GOLD))
    for name in names or ("web",):
        await host.create(MORE.format(name=name), name=name)
    await host.settle()
    return host


def guest(host: SimulatedHost, name: str = "web") -> FakeGuest:
    return host.world.guest(host.environment.domains.find(name).uuid)


def held(host: SimulatedHost, name: str = "web") -> tuple[int, float | None, DiskQos, Rate | None]:
    """Weight, cap in CPUs, limits of the disk and of what the card sends, as the host has them."""
    domain = host.environment.domains.find(name)
    assert domain.domid is not None and domain.incarnation is not None
    shares = host.world.shares[host.environment.directory(domain.domid)]
    network = host.environment.network
    assert isinstance(network, FakeNetwork)
    policy = network.rules.get(domain.incarnation.notes["tap.0"])  # a card of another daemon is not in this one's
    rate = None if policy is None else policy.rate_out
    cap = None if shares.quota is None else shares.quota.cpus
    return shares.weight, cap, guest(host, name).disks.find("xvda").qos, rate


async def change(host: SimulatedHost, **words: str) -> Job:
    named = {word.replace("_", "-"): text for word, text in words.items()}
    return await ended(host, await qos_verbs.change(host.environment, "gold", named))


async def test_a_domain_starts_with_its_class_and_follows_it(tmp_path: Path) -> None:
    host = await up(tmp_path, "web", "db")
    assert held(host) == held(host, "db") == (512, 0.5, LIMITED, Rate(1_000_000))
    job = await change(host, weight="128", cap="none", iops="7", rate="16Mb/s")
    assert job.notes["result"] == {"name": "gold", "changed": ["web", "db"], "failed": []}
    assert held(host) == held(host, "db") == (128, None, read_words({"iops": "7"}), Rate(2_000_000))
    await host.stop()


async def test_what_a_domain_says_itself_stays(tmp_path: Path) -> None:
    host = await up(tmp_path)
    await sched_verbs.set_credit(host.environment, "web", 100, None)
    await ended(host, await disk_qos.limit(host.environment, "web", "xvda", {"iops": "9"}))
    await ended(host, await vif_rate.set_rate(host.environment, "web", "0", {"rate": "80Mb/s"}))
    own = (100, 0.5, read_words({"iops": "9"}), Rate(10_000_000))
    assert held(host) == own
    await change(host, weight="300", iops="4", rate="1Mb/s")
    assert held(host) == own
    rows = {row.what: row.origin for row in qos_verbs.terms(host.environment, "web").rows}
    assert rows["weight"] is rows["disk xvda iops"] is rows["card 0 rate"] is Origin.OWN
    assert rows["cap"] is rows["memory-guarantee"] is Origin.CLASS
    await ended(host, await disk_qos.limit(host.environment, "web", "xvda", {}, anew=True))
    await ended(host, await vif_rate.set_rate(host.environment, "web", "0", {"rate": ""}))
    assert held(host) == (100, 0.5, read_words({"iops": "4"}), Rate(125_000))
    await host.stop()


async def test_a_domain_gets_another_class_and_none(tmp_path: Path) -> None:
    host = await up(tmp_path)
    await ended(host, await qos_verbs.define(host.environment, "bronze", {"weight": "64", "bps": "1M"}))
    await ended(host, await qos_verbs.set_class(host.environment, "web", "bronze"))
    assert held(host) == (64, None, read_words({"bps": "1M"}), None)
    await ended(host, await qos_verbs.set_class(host.environment, "web", "none"))
    assert held(host) == (256, None, DiskQos(), None)
    assert host.environment.domains.find("web").config.qos is None
    await host.stop()


async def test_a_guest_that_refuses_is_told_of_and_keeps_nobody_from_it(tmp_path: Path) -> None:
    host = await up(tmp_path, "web", "db")
    host.world.fail(Verb.THROTTLE_DISK, Refuse("not today"))
    job = await change(host, weight="128", iops="7")
    assert job.state is JobState.DONE
    (failed,) = job.notes["result"]["failed"]
    assert failed["domain"] == "web" and "not today" in failed["why"]
    assert job.notes["result"]["changed"] == ["db"]
    assert held(host)[2] == LIMITED and held(host, "db")[2] == read_words({"iops": "7"})
    again = await change(host)
    assert again.notes["result"] == {"name": "gold", "changed": ["web", "db"], "failed": []}
    assert held(host) == held(host, "db")
    await host.stop()


async def test_a_host_that_refuses_shares_is_told_of_for_each(tmp_path: Path) -> None:
    host = await up(tmp_path, "web", "db")
    host.shares.refuses = "read-only"
    job = await change(host, weight="128", iops="7")
    assert [each["domain"] for each in job.notes["result"]["failed"]] == ["web", "db"]
    assert all("read-only" in each["why"] for each in job.notes["result"]["failed"])
    assert held(host)[2] == read_words({"iops": "7"}), "what could be changed is"
    await host.stop()


async def test_a_guarantee_is_what_ballooning_leaves(tmp_path: Path) -> None:
    host = await up(tmp_path)
    (found,) = (await memory.planned(host.environment)).guests
    assert found.guaranteed == 200
    await change(host, memory_guarantee="300")
    assert guest(host).balloon.actual == 300, "who has less gets the rest"
    with pytest.raises(BadInput, match="from 300 to 512"):
        await memory.set_memory(host.environment, "web", 299)
    host.machine.available_bytes = 0
    job = await change(host, memory_guarantee="400")
    assert "100 MiB more" in job.notes["result"]["failed"][0]["why"]
    await host.stop()


async def test_who_is_guaranteed_more_may_take_it_before_he_is_asked_to(tmp_path: Path) -> None:
    """Else his run would be ended for it."""
    host = await up(tmp_path)
    loop = MemoryLimitsLoop(host.environment)
    await loop.look()
    before = host.memory_limits.limits[guest(host).directory]
    await change(host, memory_guarantee="300")
    host.memory_limits.settle(guest(host).directory)
    assert guest(host).balloon.actual == 300 and not guest(host).gone
    assert host.memory_limits.limits[guest(host).directory] - before >= 100 * MIB
    await host.stop()


async def test_what_can_not_be_is_refused_before_there_is_a_job(tmp_path: Path) -> None:
    host = await up(tmp_path)
    environment = host.environment
    with pytest.raises(NameInUse, match="already"):
        await qos_verbs.define(environment, "gold", {"weight": "1"})
    with pytest.raises(BadInput, match="from 1 to 65535"):
        await qos_verbs.define(environment, "silver", {"weight": "0"})
    with pytest.raises(BadInput, match="what is class"):
        await qos_verbs.define(environment, "silver", {})
    with pytest.raises(BadInput, match="from 0 to 51200"):
        await qos_verbs.change(environment, "gold", {"cap": "-1"})
    for unknown in (
        qos_verbs.change(environment, "gole", {}),
        qos_verbs.destroy(environment, "gole"),
        qos_verbs.set_class(environment, "web", "gole"),
        create(environment, Source(config("db", 'qos = "gole"'), "db.cfg", "/cfg")),
        define(environment, Source(config("db", 'qos = "gole"'), "db.cfg", "/cfg")),
    ):
        with pytest.raises(NotFound, match="did you mean gold"):
            await unknown
    with pytest.raises(NotFound) as error:
        await qos_verbs.set_class(environment, "web", "xyz")
    assert "there are gold" in str(error.value)
    await host.stop()


async def test_a_class_in_use_is_destroyed_by_force_only(tmp_path: Path) -> None:
    host = await up(tmp_path)
    with pytest.raises(ResourceBusy, match="that of web"):
        await qos_verbs.destroy(host.environment, "gold")
    await ended(host, await qos_verbs.destroy(host.environment, "gold", force=True))
    assert qos_verbs.look(host.environment) == ()
    assert held(host) == (256, None, DiskQos(), None)
    (remark,) = qos_verbs.terms(host.environment, "web").remarks
    assert "no class gold" in remark
    await ended(host, await qos_verbs.define(host.environment, "gold", {"weight": "99"}))
    assert held(host)[0] == 99, "who names it has it again"
    await ended(host, await qos_verbs.set_class(host.environment, "web", None))
    await ended(host, await qos_verbs.destroy(host.environment, "gold"))
    await host.stop()


async def test_a_domain_that_is_off_has_its_class_from_its_next_start(tmp_path: Path) -> None:
    host = await up(tmp_path)
    await define(host.environment, Source(config("db", MORE.format(name="db")), "db.cfg", "/cfg"))
    assert (await change(host, weight="77")).notes["result"]["changed"] == ["web", "db"]
    await ended(host, await start(host.environment, "db"))
    assert held(host, "db") == (77, 0.5, LIMITED, Rate(1_000_000))
    await host.stop()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["record", "hold"])
async def test_a_change_that_a_daemon_left_half_done_is_finished(tmp_path: Path, step: str, when: str) -> None:
    host = await up(tmp_path, "web", "db")
    await host.stop()
    await host.boot(Strike(JobKind.QOS_CLASS, step, when, crash))
    await qos_verbs.change(host.environment, "gold", {"weight": "128", "iops": "7", "rate": "16Mb/s"})
    await host.settle()
    await host.crash()
    await host.boot()
    await host.settle()
    assert held(host) == held(host, "db") == (128, 0.5, read_words({"iops": "7"}), None)
    assert {job.state for job in host.engine.all()} == {JobState.DONE}
    await host.stop()


@pytest.mark.parametrize("step", ["record", "hold"])
async def test_a_change_that_fails_leaves_class_and_guests_as_they_were(tmp_path: Path, step: str) -> None:
    host = await up(tmp_path)
    await host.stop()
    await host.boot(Strike(JobKind.QOS_CLASS, step, "after", fail))
    await host.settle()
    before = held(host)
    job = await change(host, weight="128", iops="7", rate="16Mb/s")
    assert job.state is JobState.FAILED
    assert held(host) == before
    assert words_of(host.environment.qos_classes.find("gold")) == {
        word: GOLD[word] for word in ("weight", "cap", "memory-guarantee", "iops", "rate")
    }
    await host.stop()


async def test_a_limit_that_is_set_while_its_class_changes_holds(tmp_path: Path) -> None:
    """Two jobs in two lanes at once: whoever comes last has read what is written down last."""
    host = await up(tmp_path)
    jobs = [
        await qos_verbs.change(host.environment, "gold", {"iops": "7"}),
        await disk_qos.limit(host.environment, "web", "xvda", {"iops": "9"}),
        await qos_verbs.change(host.environment, "gold", {"iops": "8"}),
    ]
    assert [(await ended(host, job)).state for job in jobs] == [JobState.DONE] * 3
    assert held(host)[2] == read_words({"iops": "9"})
    await ended(host, await destroy(host.environment, "web"))
    await host.stop()
