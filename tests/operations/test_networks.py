"""Networks as objects: what is recorded is what the host has, whatever fails, crashes or is done by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost

from wirt.model.errors import BadInput, ConfigError, CorruptState, IllegalState, NameInUse, NotFound, Unavailable
from wirt.model.job import Job, JobState
from wirt.network.fabric_fake import with_link, without
from wirt.operations import network, records
from wirt.operations.destroy import destroy
from wirt.operations.networks_upkeep import planned
from wirt.operations.reconcile.network import LOOK_EVERY_S, NetworkLoop
from wirt.plan.networks_state import LinkState
from wirt.plan.networks_wishes import Wish
from wirt.ports.store import Put

IN_LAN = 'vif = ["bridge=br-lan,mac=00:16:3e:00:00:01,ip=10.5.0.20"]'
LAN = Wish("lan", address="10.5.0.1/24")


@pytest.fixture
async def host(tmp_path: Path) -> SimulatedHost:
    host = SimulatedHost(tmp_path)
    await host.boot()
    host.network.bridges.add("br-lan")
    return host


async def make(host: SimulatedHost, wish: Wish = LAN) -> Job:
    job = await network.create(host.environment, wish)
    return await host.engine.wait(job.id)


async def remove(host: SimulatedHost, name: str = "lan") -> Job:
    job = await network.destroy(host.environment, name)
    return await host.engine.wait(job.id)


def events(host: SimulatedHost, word: str) -> list[str]:
    return [
        str(each.data[word]) for each in host.environment.bus._kept if each.kind == "network" and word in each.data
    ]


async def test_a_network_is_there_after_its_daemon(host: SimulatedHost) -> None:
    assert (await make(host)).state is JobState.DONE
    before = list(host.environment.networks)
    await host.crash()
    await host.boot()
    assert list(host.environment.networks) == before
    await host.assert_consistent()


async def test_what_was_planned_is_what_is_done(host: SimulatedHost) -> None:
    told = await network.preview(host.environment, LAN)
    assert host.fabric.done == []
    await make(host)
    assert tuple(host.fabric.done) == told.plan.actions


async def test_of_two_networks_at_once_with_one_address_one_is_made(host: SimulatedHost) -> None:
    first = await network.create(host.environment, Wish("a", address="10.5.0.1/24"))
    second = await network.create(host.environment, Wish("b", address="10.5.0.1/24"))
    states = {(await host.engine.wait(job.id)).state for job in (first, second)}
    assert states == {JobState.DONE, JobState.FAILED}
    assert len(list(host.environment.networks)) == 1
    await host.assert_consistent()


async def test_a_name_is_given_once(host: SimulatedHost) -> None:
    await make(host)
    with pytest.raises(NameInUse, match="there is a network lan already"):
        await network.create(host.environment, LAN)


async def test_each_action_that_fails_leaves_nothing(host: SimulatedHost) -> None:
    before = host.fabric.state
    for number in range(100):
        host.fabric.fail_in(number, Unavailable("the kernel refuses"))
        job = await make(host)
        if job.state is JobState.DONE:
            break
        assert job.error is not None
        assert job.error.message == "the kernel refuses"
        assert list(host.environment.networks) == []
        assert host.fabric.state == before, f"after action {number} failed"
    assert number > 5
    await host.assert_consistent()


async def test_each_action_that_fails_in_a_destroy_leaves_the_network_whole(host: SimulatedHost) -> None:
    await make(host)
    for number in range(100):
        host.fabric.fail_in(number, Unavailable("the kernel refuses"))
        job = await remove(host)
        if job.state is JobState.DONE:
            break
        (kept,) = host.environment.networks
        assert not kept.leaving
        await host.assert_consistent()
    assert number > 2
    host.fabric.fail_in(-1, None)
    assert list(host.environment.networks) == []
    await host.assert_consistent()


async def test_a_kernel_that_lacks_a_part_is_found_out_before_there_is_a_job(host: SimulatedHost) -> None:
    host.fabric.lacks.add("vxlan")
    with pytest.raises(Unavailable, match="vxlan"):
        await network.create(host.environment, Wish("wide", vni=7, local="192.0.2.10"))
    assert host.engine.all() == []


async def test_a_network_in_use_is_not_destroyed_and_its_users_are_named(host: SimulatedHost) -> None:
    await make(host)
    await host.create(IN_LAN)
    with pytest.raises(IllegalState, match="in use by domain web"):
        await network.destroy(host.environment, "lan")
    await destroy(host.environment, "web")
    await host.settle()
    assert (await remove(host)).state is JobState.DONE


async def test_nobody_joins_a_network_that_is_being_destroyed(host: SimulatedHost) -> None:
    await make(host)
    host.fabric.fail_in(0, Unavailable("the kernel refuses"))
    (kept,) = host.environment.networks
    await host.environment.networks.change(kept, leaving=True)
    with pytest.raises(ConfigError, match="network lan is being destroyed"):
        await host.create(IN_LAN)


async def test_a_card_that_came_at_the_last_moment_keeps_its_network(host: SimulatedHost) -> None:
    await make(host)
    late = LinkState("vif1.0", 80, "tun", "52:54:00:00:00:09", up=True, master="br-lan")
    host.fabric.state = with_link(host.fabric.state, late)
    job = await remove(host)
    assert job.error is not None
    assert "vif1.0 is in its bridge br-lan" in job.error.message
    (kept,) = host.environment.networks
    assert not kept.leaving


@pytest.mark.parametrize(("name", "error"), [("nope", NotFound), ("default", BadInput)])
async def test_what_is_not_there_or_not_to_go_is_not_destroyed(
    host: SimulatedHost, name: str, error: type[Exception]
) -> None:
    with pytest.raises(error) as refusal:
        await network.destroy(host.environment, name)
    assert getattr(refusal.value, "hint", None)


async def test_a_name_that_is_nearly_right_is_offered(host: SimulatedHost) -> None:
    await make(host, Wish("production", address="10.5.0.1/24"))
    with pytest.raises(NotFound) as refusal:
        await network.plan(host.environment, "prodution")
    assert refusal.value.hint == "did you mean production?"


async def test_a_record_that_can_not_be_read_is_named(host: SimulatedHost) -> None:
    await host.store.commit(Put(records.network_key("lan"), b'{"v": 1, "config": {}}'))
    with pytest.raises(CorruptState, match="wirt/v1/networks/lan"):
        await host.environment.networks.load()


async def test_a_guest_is_known_to_the_server_with_its_name_and_address(host: SimulatedHost) -> None:
    await make(host)
    await host.create(IN_LAN)
    await NetworkLoop(host.environment).look()
    expected = "00:16:3e:00:00:01,10.5.0.20,web\n\n10.5.0.20 web\n"
    assert host.fabric.state.servers["lan"].hosts == expected


# The loop


async def looking(host: SimulatedHost) -> NetworkLoop:
    loop = NetworkLoop(host.environment)
    await loop.prepare()
    await loop.start()
    return loop


async def pass_by(host: SimulatedHost, seconds: float) -> None:
    for _ in range(int(seconds * 4)):
        await host.clock.advance(0.25)
        await host.settle()


async def test_what_is_harmed_by_hand_is_mended_and_told(host: SimulatedHost) -> None:
    await make(host)
    loop = await looking(host)
    await pass_by(host, 1)
    host.fabric.arrange(without(host.fabric.state, "br-lan"))
    await pass_by(host, 1.5)
    assert (await planned(host.environment)).actions == ()
    assert "make the bridge br-lan" in events(host, "mended")
    assert "make the bridge br-lan" in [each.sentence for each in host.environment.networks.upkeep.mended]
    await loop.stop()


async def test_what_the_kernel_does_not_tell_is_noticed_all_the_same(host: SimulatedHost) -> None:
    await make(host)
    loop = await looking(host)
    await pass_by(host, 1)
    dead = replace(host.fabric.state.servers["lan"], pid=None)
    host.fabric.state = replace(host.fabric.state, servers={"lan": dead})
    await pass_by(host, LOOK_EVERY_S + 1)
    assert host.fabric.state.servers["lan"].pid is not None
    await loop.stop()


async def test_what_can_not_be_mended_is_told_once_and_mended_when_it_can(host: SimulatedHost) -> None:
    await make(host)
    loop = await looking(host)
    host.fabric.arrange(without(host.fabric.state, "br-lan"))
    foreign = LinkState("br-lan", 90, "bridge", "52:54:00:00:00:09")
    host.fabric.arrange(with_link(host.fabric.state, foreign))
    await pass_by(host, 3 * LOOK_EVERY_S)
    assert events(host, "problem") == ["br-lan is another's device"]
    assert host.fabric.state.links["br-lan"] == foreign
    host.fabric.arrange(without(host.fabric.state, "br-lan"))
    await pass_by(host, 1.5)
    assert host.environment.networks.upkeep.problems == ()
    assert (await planned(host.environment)).actions == ()
    await loop.stop()


async def test_one_network_that_is_refused_does_not_keep_others_from_being_mended(host: SimulatedHost) -> None:
    await make(host)
    await make(host, Wish("zoo", address="10.6.0.1/24"))
    loop = await looking(host)
    await pass_by(host, 1)
    host.fabric.failures.append(Unavailable("not now"))
    host.fabric.state = without(host.fabric.state, "br-lan")
    host.fabric.arrange(without(host.fabric.state, "br-zoo"))
    await pass_by(host, 0.75)
    assert "br-zoo" in host.fabric.state.links
    await pass_by(host, LOOK_EVERY_S + 1)
    assert "br-lan" in host.fabric.state.links
    await loop.stop()


async def test_a_host_without_networks_is_left_alone(host: SimulatedHost) -> None:
    loop = await looking(host)
    await pass_by(host, 20)
    assert host.fabric.done == []
    await loop.stop()


async def test_the_default_bridge_of_running_guests_is_mended_too(host: SimulatedHost) -> None:
    await host.create()
    await NetworkLoop(host.environment).look()
    assert host.fabric.state.links["wirtbr0"].up
    await destroy(host.environment, "web")
    await host.settle()
    host.fabric.state = without(host.fabric.state, "wirtbr0")
    await NetworkLoop(host.environment).look()
    assert "wirtbr0" not in host.fabric.state.links


async def test_a_loop_that_fails_goes_on(host: SimulatedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    await make(host)
    loop = await looking(host)
    await pass_by(host, 1)

    async def broken(devices: frozenset[str] | None = None) -> None:
        raise RuntimeError("something nobody thought of")

    with monkeypatch.context() as patch:
        patch.setattr(host.fabric, "observe", broken)
        await pass_by(host, 6)
    host.fabric.arrange(without(host.fabric.state, "br-lan"))
    await pass_by(host, 6)
    assert "br-lan" in host.fabric.state.links
    await loop.stop()


async def test_a_card_that_names_a_network_that_is_not_there_is_refused(host: SimulatedHost) -> None:
    await make(host)
    with pytest.raises(ConfigError, match="there is no network lna") as refusal:
        await host.create('vif = ["network=lna"]')
    assert refusal.value.hint == "did you mean lan?"


async def test_cards_of_running_guests_are_known_again_also_when_no_memory_is_left(host: SimulatedHost) -> None:
    assert (await host.create('vif = ["bridge=wirtbr0"]')).error is None
    await host.crash()
    host.machine.available_bytes = 0
    await host.boot()
    host.network.taps["vif1.0"] = "wirtbr0"  # the guest holds it
    loop = NetworkLoop(host.environment)
    await loop.start()
    await host.network.mend()
    assert host.network.rules.keys() == {"vif1.0"}
    await loop.stop()
