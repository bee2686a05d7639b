"""vCPUs are kept to the CPUs that their domain names, from the start on, and after everything."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wirt.machine.topology import parse
from wirt.model.errors import BadInput, Unavailable, WirtError
from wirt.operations.affinity import pin, shown
from wirt.operations.create import Source, preview
from wirt.operations.scheduling import lay, notes, remarks

from .kit import SimulatedHost, config
from .scheduling_kit import host, started

__all__ = ["host"]


async def places(host: SimulatedHost, name: str = "web") -> list[set[int]]:
    threads = await host.threads.of(host.environment.domains.find(name).uuid)
    return [set(host.threads.affinity(thread) or ()) for thread in threads.values()]


async def test_a_guest_is_where_its_file_says(host: SimulatedHost) -> None:
    await started(host, more='vcpus = 2\ncpus = "2-3"')
    assert await places(host) == [{2, 3}, {2, 3}]


async def test_a_list_is_for_each_vcpu_in_turn_and_the_rest_is_free(host: SimulatedHost) -> None:
    await started(host, more='vcpus = 3\ncpus = ["1", "node:1"]')
    assert await places(host) == [{1}, {2, 3}, {0, 1, 2, 3}]


async def test_pins_change_at_once_and_a_new_daemon_takes_them_up(host: SimulatedHost) -> None:
    await started(host, more="vcpus = 2")
    await pin(host.environment, "web", "1", "0", "node:0")
    assert await places(host) == [{0, 1, 2, 3}, {0}]
    await host.crash()
    host.world.affinity.clear()
    await host.boot()
    await lay(host.environment)
    assert await places(host) == [{0, 1, 2, 3}, {0}]
    found = host.environment.domains.find("web").config
    assert (found.cpus, found.cpus_soft) == (("all", "0"), ("all", "node:0"))


async def test_all_takes_pins_away_and_leaves_no_key_behind(host: SimulatedHost) -> None:
    domain = await started(host, more="vcpus = 2")
    await pin(host.environment, "web", "all", "1")
    assert await places(host) == [{1}, {1}]
    after = await pin(host.environment, "web", "all", "all")
    assert after.config.cpus is None and after.text == domain.text
    assert await places(host) == [{0, 1, 2, 3}] * 2


async def test_of_whom_nothing_is_said_may_be_where_the_rest_of_its_process_may(host: SimulatedHost) -> None:
    """Somebody may keep a whole QEMU to some CPUs, or wirtd with all that it starts."""
    domain = await started(host, more="vcpus = 2")
    assert domain.incarnation is not None
    main = (await host.threads.of(domain.uuid))[0]
    await host.environment.domains.start_run(replace(domain.incarnation, pid=main))
    host.world.affinity[main] = frozenset({2})
    await lay(host.environment)
    assert await places(host) == [{2}, {2}]


@pytest.mark.parametrize(
    ("vcpu", "cpus", "words"),
    [
        ("2", "0", "it has 0 to 1"),
        ("x", "0", "it has 0 to 1"),
        ("0", "9", "CPUs 0-3"),
        ("0", "a", "names no CPUs"),
    ],
)
async def test_what_can_not_be_is_refused_with_what_can(
    host: SimulatedHost, vcpu: str, cpus: str, words: str
) -> None:
    domain = await started(host, more="vcpus = 2")
    with pytest.raises(BadInput) as caught:
        await pin(host.environment, "web", vcpu, cpus)
    assert words in str(caught.value)
    assert host.environment.domains.find("web").text == domain.text


async def test_a_guest_for_cpus_that_the_host_has_not_got_is_refused_before_there_is_a_job(
    host: SimulatedHost,
) -> None:
    with pytest.raises(BadInput, match="CPUs 0-3"):
        await preview(host.environment, Source(config("web", 'cpus = "7"'), "web.cfg", "/"))


async def test_a_cpu_that_goes_offline_is_told_and_the_guest_goes_on(host: SimulatedHost) -> None:
    domain = await started(host, more='cpus = "3"')
    host.processors.offline = (3,)
    host.threads.online -= {3}
    await lay(host.environment)
    (words,) = remarks(host.environment, domain)
    assert "none of them is online" in words
    with pytest.raises(BadInput, match="none is online"):
        await pin(host.environment, "web", "0", "3")
    with pytest.raises(WirtError, match="none of them is online"):
        await preview(host.environment, Source(config("mail", 'cpus = "3"'), "mail.cfg", "/"))
    host.processors.offline = ()
    host.threads.online |= {3}
    await lay(host.environment)
    assert remarks(host.environment, domain) == () and await places(host) == [{3}]


async def test_a_machine_that_tells_no_cpus_keeps_only_those_from_running_who_ask_for_some(
    host: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent() -> frozenset[int]:
        raise Unavailable("this machine does not tell which CPUs it has")

    monkeypatch.setattr(host.processors, "online", silent)
    monkeypatch.setattr(host.processors, "topology", silent)
    domain = await started(host)
    assert domain.incarnation is not None and remarks(host.environment, domain) == ()
    assert "this machine does not tell which CPUs it has" in notes(host.environment)
    with pytest.raises(Unavailable):
        await preview(host.environment, Source(config("mail", 'cpus = "3"'), "mail.cfg", "/"))


async def test_what_the_machine_does_not_tell_is_noted(
    host: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = parse({"cpu/online": "0-3", "cpu/present": "0-3", "node/online": ""})
    monkeypatch.setattr(host.processors, "topology", lambda: bare)
    await started(host, more='cpus = "2"')
    assert await places(host) == [{2}]
    assert any("no NUMA table" in note for note in notes(host.environment))


async def test_who_is_pinned_where_is_shown(host: SimulatedHost) -> None:
    domain = await started(host, more='vcpus = 3\ncpus = ["1", "2-3"]\ncpus_soft = "node:1"')
    assert [shown(host.environment, domain, number) for number in range(3)] == [
        ("1", "2-3"),
        ("2-3", "2-3"),
        ("all", "2-3"),
    ]
    domain = replace(domain, config=replace(domain.config, cpus="77", cpus_soft=None))
    assert shown(host.environment, domain, 0) == ("none", "all")
