"""Cards that people attach, detach and unplug, and what guests make of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost, Strike, config, fail

from wirt.api import convert
from wirt.hypervisors.fake import FakeGuest, Refuse, Verb
from wirt.model.domain import Domain
from wirt.model.errors import ConfigError, IllegalState, NotFound, Shortage, WirtError
from wirt.model.job import Job, JobState
from wirt.model.lifecycle import State
from wirt.operations import power, vif
from wirt.operations.create import Source, define
from wirt.operations.destroy import destroy
from wirt.operations.jobs.step import JobKind
from wirt.operations.start import start

MAC = "00:16:3e:00:00:12"


@pytest.fixture
async def host(tmp_path: Path) -> SimulatedHost:
    host = SimulatedHost(tmp_path)
    await host.boot()
    return host


def web(host: SimulatedHost) -> Domain:
    return host.environment.domains.find("web")


def guest(host: SimulatedHost) -> FakeGuest:
    return host.world.guest(web(host).uuid)


async def done(host: SimulatedHost, job: Job) -> Job:
    return await host.engine.wait(job.id)


async def attach(host: SimulatedHost, *words: str) -> Job:
    return await done(host, await vif.attach(host.environment, "web", words))


async def detach(host: SimulatedHost, card: str) -> Job:
    return await done(host, await vif.detach(host.environment, "web", card))


async def again(host: SimulatedHost) -> None:
    await done(host, await destroy(host.environment, "web"))
    await host.settle()
    await done(host, await start(host.environment, "web"))


def shown(host: SimulatedHost) -> dict[int, tuple[str, str | None]]:
    return {card.index: (card.state, card.link) for card in convert.domain(host.environment, web(host)).vifs}


async def test_a_running_domain_gets_a_card_which_its_next_run_has_in_the_same_place(host: SimulatedHost) -> None:
    await host.create(persistent=True)
    job = await attach(host, f"mac={MAC}", "devid=5")
    assert (job.state, job.notes["result"]["devid"]) == (JobState.DONE, 5)
    assert set(guest(host).links) == {0, 5}
    assert f"mac={MAC},devid=5" in web(host).text
    await host.assert_consistent()
    before = await host.environment.plan(web(host), 9)
    await again(host)
    assert [nic.port for nic in guest(host).plan.nics] == [0, 5]
    assert [nic.mac for nic in guest(host).plan.nics] == [nic.mac for nic in before.nics]


async def test_a_domain_that_is_off_has_the_card_when_it_is_started(host: SimulatedHost) -> None:
    await define(host.environment, Source(config(), "web.cfg", "/cfg"))
    await attach(host)
    await host.settle()
    assert shown(host) == {0: ("off", None), 1: ("off", None)}
    assert host.network.taps == {}
    await done(host, await start(host.environment, "web"))
    assert shown(host) == {0: ("attached", "up"), 1: ("attached", "up")}
    await done(host, await destroy(host.environment, "web"))
    await host.settle()
    await detach(host, "0")
    assert shown(host) == {1: ("off", None)}


async def test_a_card_is_detached_by_number_or_address_and_its_tap_goes_with_it(host: SimulatedHost) -> None:
    await host.create()
    before = dict(host.network.taps)
    await attach(host, f"mac={MAC}")
    assert len(host.network.taps) == len(before) + 1
    assert (await detach(host, MAC.upper())).state is JobState.DONE
    assert set(guest(host).links) == {0}
    assert host.network.taps == before
    await host.assert_consistent()


async def test_two_that_are_attached_at_once_get_two_numbers(host: SimulatedHost) -> None:
    await host.create()
    jobs = [await vif.attach(host.environment, "web", []) for _ in range(3)]
    assert [(await done(host, job)).notes["devid"] for job in jobs] == [1, 2, 3]
    await host.assert_consistent()


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["mac=00:16:3e:00:00:01"], ConfigError, "is the address of network card 0"),
        (["devid=0"], ConfigError, "has a network card 0 already"),
        (["devid=8"], Shortage, "no place"),
        (["model=usb-net"], ConfigError, "no card of model usb-net"),
        (["model=nonsense"], ConfigError, "no network card"),
        (["mac=x"], ConfigError, "no MAC address"),
        (["nonsense=1"], ConfigError, "no parameter"),
    ],
)
async def test_what_can_not_be_attached_is_refused_before_there_is_a_job(
    host: SimulatedHost, words: list[str], error: type[WirtError], message: str
) -> None:
    await host.create('vif = ["mac=00:16:3e:00:00:01"]')
    text, jobs = web(host).text, len(host.engine.all())
    with pytest.raises(error, match=message):
        await vif.attach(host.environment, "web", words)
    with pytest.raises(error, match=message):
        vif.preview(host.environment, "web", words)
    assert (web(host).text, len(host.engine.all())) == (text, jobs)


async def test_when_all_places_are_taken_that_is_told(host: SimulatedHost) -> None:
    await host.create("vif = [" + ", ".join(['""'] * 8) + "]")
    with pytest.raises(Shortage, match="no place for network card 8"):
        await vif.attach(host.environment, "web", [])


async def test_an_unknown_bridge_leaves_nothing(host: SimulatedHost) -> None:
    await host.create()
    text, taps = web(host).text, dict(host.network.taps)
    job = await attach(host, "bridge=nowhere")
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.code == "not-found"
    assert (web(host).text, host.network.taps, set(guest(host).links)) == (text, taps, {0})


@pytest.mark.parametrize("step", ["plug", "attach", "record"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_failed_attach_leaves_neither_card_nor_tap_nor_text(tmp_path: Path, step: str, when: str) -> None:
    host = SimulatedHost(tmp_path)
    await host.boot(Strike(JobKind.VIF_ATTACH, step, when, fail))
    await host.create()
    text, taps, notes = web(host).text, dict(host.network.taps), web(host).incarnation
    assert (await attach(host)).state is JobState.FAILED
    assert (web(host).text, host.network.taps, set(guest(host).links)) == (text, taps, {0})
    assert web(host).incarnation == notes
    assert (await attach(host)).state is JobState.DONE
    await host.assert_consistent()


async def test_a_paused_guest_gets_cards_and_keeps_them(host: SimulatedHost) -> None:
    await host.create(paused=True)
    assert (await attach(host)).state is JobState.DONE
    with pytest.raises(IllegalState, match="paused"):
        await vif.detach(host.environment, "web", "1")
    await power.unpause(host.environment, "web")
    await host.settle()
    assert (await detach(host, "1")).state is JobState.DONE


async def test_the_cards_of_a_guest_that_has_ended_stay_as_they_are(host: SimulatedHost) -> None:
    await host.create('on_poweroff = "preserve"')
    guest(host).power_off()
    await host.settle()
    for act in (
        vif.attach(host.environment, "web", []),
        vif.detach(host.environment, "web", "0"),
        vif.set_link(host.environment, "web", "0", up=False),
    ):
        with pytest.raises(IllegalState, match="shutdown"):
            await act


async def test_a_card_that_is_not_there_is_told_with_those_that_are(host: SimulatedHost) -> None:
    await host.create('vif = ["mac=00:16:3e:00:00:01"]')
    with pytest.raises(NotFound, match="0 \\(00:16:3e:00:00:01\\)"):
        await vif.detach(host.environment, "web", "1")
    with pytest.raises(NotFound):
        await vif.set_link(host.environment, "web", MAC, up=False)


async def test_a_guest_that_keeps_a_card_is_told_of_and_may_still_let_go(host: SimulatedHost) -> None:
    await host.create()
    await attach(host)
    guest(host).lets_cards_go = False
    job = await detach(host, "1")
    assert job.state is JobState.FAILED
    assert "did not let go" in str(job.error)
    assert shown(host)[1] == ("leaving", "up")
    await host.crash()
    await host.boot()
    assert shown(host)[1] == ("leaving", "up")
    guest(host).let_cards_go()
    await host.clock.advance(3)
    await host.settle()
    assert shown(host) == {0: ("attached", "up")}
    await host.assert_consistent()


async def test_a_card_that_its_guest_threw_out_is_absent_until_the_next_start(host: SimulatedHost) -> None:
    await host.create(persistent=True)
    await attach(host)
    guest(host).throw_out_card(1)
    await host.clock.advance(3)
    await host.settle()
    assert shown(host)[1] == ("absent", None)
    with pytest.raises(IllegalState, match="runs without its network card 1"):
        await vif.set_link(host.environment, "web", "1", up=False)
    await host.assert_consistent()
    await again(host)
    assert shown(host)[1] == ("attached", "up")


async def test_a_card_that_could_not_be_taken_back_goes_when_its_guest_lets_it(tmp_path: Path) -> None:
    host = SimulatedHost(tmp_path)
    await host.boot(Strike(JobKind.VIF_ATTACH, "record", "before", fail))
    await host.create()
    host.world.fail(Verb.DETACH_VIF, Refuse())
    job = await attach(host)
    assert "undoing attach failed" in str(job.error)
    assert set(guest(host).links) == {0, 1}
    await host.clock.advance(3)
    await host.settle()
    assert set(guest(host).links) == {0}
    await host.assert_consistent()


async def test_a_pulled_cable_is_shown_and_stays_pulled_whatever_becomes_of_the_daemon(
    host: SimulatedHost,
) -> None:
    await host.create()
    await done(host, await vif.set_link(host.environment, "web", "0", up=False))
    await host.crash()
    await host.boot()
    assert shown(host) == {0: ("attached", "down")}
    assert guest(host).links == {0: False}
    await done(host, await vif.set_link(host.environment, "web", "0", up=True))
    assert (shown(host), guest(host).links) == ({0: ("attached", "up")}, {0: True})


async def test_a_run_that_ends_while_its_card_waits_is_not_confused_with_the_next(host: SimulatedHost) -> None:
    await host.create('on_poweroff = "restart"')
    await attach(host)
    guest(host).lets_cards_go = False
    await detach(host, "1")
    guest(host).power_off()
    await host.settle()
    assert web(host).state is State.RUNNING
    assert shown(host) == {0: ("attached", "up"), 1: ("attached", "up")}
    await host.assert_consistent()


async def test_a_cards_own_script_hears_of_its_coming_and_its_going(tmp_path: Path) -> None:
    host = SimulatedHost(tmp_path)
    await host.boot()
    await host.create('vif = ["script=/opt/vif, bridge=wirtbr0", "bridge=wirtbr0"]')
    assert [action for _, action in host.network.scripts] == ["online"]
    job = await vif.attach(host.environment, "web", ["script=/opt/other", "bridge=wirtbr0"])
    assert (await host.engine.wait(job.id)).error is None
    job = await vif.detach(host.environment, "web", "2")
    assert (await host.engine.wait(job.id)).error is None
    await host.settle()
    job = await destroy(host.environment, "web")
    assert (await host.engine.wait(job.id)).error is None
    called = [(script.path, str(action)) for script, action in host.network.scripts]
    own, other = "/opt/vif", "/opt/other"
    assert called == [(own, "online"), (other, "online"), (other, "offline"), (own, "offline")]


@pytest.mark.parametrize("step", ["plug", "launch"])
async def test_a_cards_own_script_hears_of_a_start_that_failed(tmp_path: Path, step: str) -> None:
    host = SimulatedHost(tmp_path)
    await host.boot(Strike("create", step, "after", fail))
    job = await host.create('vif = ["script=/opt/vif, bridge=wirtbr0"]')
    assert job.error is not None
    assert [str(action) for _, action in host.network.scripts] == ["online", "offline"]


async def test_a_cards_own_script_hears_of_an_attach_that_failed(tmp_path: Path) -> None:
    host = SimulatedHost(tmp_path)
    await host.boot(Strike(JobKind.VIF_ATTACH, "attach", "after", fail))
    await host.create()
    job = await vif.attach(host.environment, "web", ["script=/opt/other", "bridge=wirtbr0"])
    assert (await host.engine.wait(job.id)).error is not None
    assert [str(action) for _, action in host.network.scripts] == ["online", "offline"]
