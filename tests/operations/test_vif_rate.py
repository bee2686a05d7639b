"""``wirt network-rate``: in force at once, kept, and refused with a reason where it can't be."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operations.kit import SimulatedHost, Strike, config, crash

from wirt.config.xlcfg import load, with_rates
from wirt.model.devices import Rate
from wirt.model.errors import BadInput, ConfigError
from wirt.model.job import JobState
from wirt.network.fake import FakeNetwork
from wirt.operations.create import Source, define
from wirt.operations.jobs.step import JobKind
from wirt.operations.start import start
from wirt.operations.vif_rate import set_rate

CARDS = 'vif = ["", "mac=00:16:3e:00:00:11,rate=8Mb/s,devid=4", "net=user"]'


async def up(tmp_path: Path, hooks: Strike | None = None) -> SimulatedHost:
    host = SimulatedHost(tmp_path)
    await (host.boot() if hooks is None else host.boot(hooks))
    await define(host.environment, Source(config("web", CARDS), "web.cfg", "/cfg"))
    await host.engine.wait((await start(host.environment, "web")).id)
    await host.settle()
    return host


def recorded(host: SimulatedHost, place: int) -> tuple[Rate | None, Rate | None]:
    vif = host.environment.domains.find("web").config.vifs[place]
    return vif.rate, vif.rate_in


def in_force(host: SimulatedHost, devid: int) -> tuple[Rate | None, Rate | None]:
    run = host.environment.domains.find("web").incarnation
    assert run is not None
    network = host.environment.network
    assert isinstance(network, FakeNetwork)
    policy = network.rules[run.notes[f"tap.{devid}"]]
    return policy.rate_out, policy.rate_in


async def rate(host: SimulatedHost, card: str, **rates: str) -> JobState:
    named = {name.replace("_", "-"): text for name, text in rates.items()}
    job = await set_rate(host.environment, "web", card, named)
    return (await host.engine.wait(job.id)).state


async def test_a_rate_holds_at_once_and_is_kept(tmp_path: Path) -> None:
    host = await up(tmp_path)
    assert await rate(host, "4", rate_in="1MB/s@20ms") is JobState.DONE
    both = (Rate(1_000_000), Rate(1_000_000, 20_000))
    assert recorded(host, 1) == both
    assert in_force(host, 4) == both
    assert await rate(host, "00:16:3e:00:00:11", rate="", rate_in="2MB/s") is JobState.DONE
    assert recorded(host, 1) == in_force(host, 4) == (None, Rate(2_000_000))
    assert in_force(host, 0) == (None, None)
    await host.stop()


async def test_what_can_not_be_is_refused(tmp_path: Path) -> None:
    host = await up(tmp_path)
    with pytest.raises(ConfigError, match="no rate"):
        await set_rate(host.environment, "web", "4", {"rate": "fast"})
    with pytest.raises(BadInput, match="in no bridge"):
        await set_rate(host.environment, "web", "1", {"rate": "1MB/s"})
    with pytest.raises(BadInput, match="nothing to change"):
        await set_rate(host.environment, "web", "4", {})
    await host.stop()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["limit", "record"])
async def test_what_a_daemon_began_that_died_is_finished_by_the_next(tmp_path: Path, step: str, when: str) -> None:
    host = await up(tmp_path, Strike(JobKind.VIF_RATE, step, when, crash))
    await set_rate(host.environment, "web", "4", {"rate": "2MB/s"})
    await host.settle()
    await host.crash()
    await host.boot()
    await host.settle()
    assert recorded(host, 1) == (Rate(2_000_000), None)
    assert [job.state for job in host.engine.all() if job.kind == JobKind.VIF_RATE] == [JobState.DONE]
    await host.stop()


@given(st.sampled_from(["", "rate=8Mb/s", "bridge=br0, rate-in=1KB/s@5ms, ip=10.0.0.1", "mac=00:16:3e:00:00:11"]))
def test_another_rate_leaves_all_else_of_a_card_as_it_was(entry: str) -> None:
    text = f'name = "web"\nkernel = "/k"\ntype = "pvh"\nvif = [ "bridge=x", "{entry}" ]\n'

    def cards(text: str) -> object:
        return load(text, file="web", cwd=PurePosixPath("/")).config.vifs

    changed = with_rates(text, 1, {"rate": "3MB/s", "rate-in": "4MB/s"})
    bare = with_rates(text, 1, {"rate": "", "rate-in": ""})
    assert cards(with_rates(changed, 1, {"rate": "", "rate-in": ""})) == cards(bare)
    vif = load(changed, file="web", cwd=PurePosixPath("/")).config.vifs[1]
    assert (vif.rate, vif.rate_in) == (Rate(3_000_000), Rate(4_000_000))
