"""Security groups as objects: what is recorded is what is in force, whatever fails in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from tests.operations.kit import SimulatedHost, config

from wirt.config.security import RuleError, write_rule
from wirt.model.errors import (
    BadInput,
    ConfigError,
    CorruptState,
    NameInUse,
    NotFound,
    ResourceBusy,
    Unavailable,
)
from wirt.model.security import SecurityGroup
from wirt.operations import records
from wirt.operations import security_groups as groups
from wirt.operations.create import Source, create, define
from wirt.operations.destroy import undefine
from wirt.ports.store import Put

VIF = 'vif = ["bridge=wirtbr0,groups=web"]'


class Laid:
    """The groups that the network was told of last; told to refuse, it does so once."""

    def __init__(self) -> None:
        self.groups: tuple[SecurityGroup, ...] = ()
        self.refusals: list[BaseException] = []
        self.times = 0

    async def __call__(self, told: Sequence[SecurityGroup]) -> None:
        await asyncio.sleep(0)
        if self.refusals:
            raise self.refusals.pop(0)
        self.groups = tuple(told)
        self.times += 1

    def rules(self) -> dict[str, list[str]]:
        return {group.name: [write_rule(rule) for rule in group.rules] for group in self.groups}


@pytest.fixture
async def host(tmp_path: Path) -> SimulatedHost:
    host = SimulatedHost(tmp_path)
    await host.boot()
    return host


@pytest.fixture
def laid(host: SimulatedHost, monkeypatch: pytest.MonkeyPatch) -> Laid:
    laid = Laid()
    monkeypatch.setattr(host.network, "set_groups", laid, raising=False)
    return laid


async def stored(host: SimulatedHost) -> dict[str, list[str]]:
    entries = (await host.store.list(records.SECURITY_GROUPS)).entries
    read = [records.read_security_group(entry) for entry in entries]
    return {group.name: [write_rule(rule) for rule in group.rules] for group in read}


async def known(host: SimulatedHost, laid: Laid) -> dict[str, list[str]]:
    """What is recorded, once it is seen to be what is in force and what is held in memory."""
    rules = {group.name: [write_rule(rule) for rule in group.rules] for group in host.environment.groups}
    assert rules == await stored(host) == laid.rules()
    return rules


async def test_a_group_is_made_changed_and_destroyed_and_is_in_force_at_once(
    host: SimulatedHost, laid: Laid
) -> None:
    env = host.environment
    await groups.create(env, "web", ["in:tcp:80", "in:tcp:0080", "in:icmp"], "the web servers")
    assert await known(host, laid) == {"web": ["in:tcp:80", "in:icmp"]}
    await groups.allow(env, "web", ["in:tcp:443", "in:icmp"])
    assert await known(host, laid) == {"web": ["in:tcp:80", "in:icmp", "in:tcp:443"]}
    await groups.revoke(env, "web", "2")
    await groups.revoke(env, "web", "in:tcp:0080")
    assert await known(host, laid) == {"web": ["in:tcp:443"]}
    await groups.change(env, "web", rules=["out:udp:53"])
    assert env.groups.find("web").description == "the web servers"
    await groups.change(env, "web", description="")
    assert await known(host, laid) == {"web": ["out:udp:53"]}
    await groups.change(env, "web", rules=[])
    assert await known(host, laid) == {"web": []}
    await groups.destroy(env, "web")
    assert await known(host, laid) == {}


async def test_each_change_is_told_once_and_one_that_changes_nothing_is_not(
    host: SimulatedHost, laid: Laid
) -> None:
    env = host.environment
    told = []

    async def listen() -> None:
        async for happening in env.bus.follow(0):
            if happening.kind == groups.EVENT:
                told.append((happening.data["name"], happening.data["what"], happening.data["rules"]))

    listening = asyncio.create_task(listen())
    await groups.create(env, "web", ["in:icmp"])
    await groups.allow(env, "web", ["in:icmp"])
    await groups.change(env, "web", rules=[])
    await groups.destroy(env, "web")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    listening.cancel()
    assert told == [("web", "created", ["in:icmp"]), ("web", "changed", []), ("web", "destroyed", [])]
    assert laid.times == 3


@pytest.mark.parametrize("fault", [Unavailable("nft: no"), asyncio.CancelledError()])
async def test_when_the_network_refuses_the_record_is_as_before(
    host: SimulatedHost, laid: Laid, fault: BaseException
) -> None:
    env = host.environment
    await groups.create(env, "web", ["in:icmp"])
    changes: tuple[Callable[[], Awaitable[SecurityGroup]], ...] = (
        lambda: groups.create(env, "db", []),
        lambda: groups.allow(env, "web", ["in:tcp:22"]),
        lambda: groups.destroy(env, "web"),
    )
    for change in changes:
        laid.refusals = [fault]
        with pytest.raises(type(fault)):
            await change()
        assert await known(host, laid) == {"web": ["in:icmp"]}
    await groups.allow(env, "web", ["in:tcp:22"])
    assert await known(host, laid) == {"web": ["in:icmp", "in:tcp:22"]}


async def test_many_changes_at_once_come_one_after_the_other_and_none_is_lost(
    host: SimulatedHost, laid: Laid
) -> None:
    env = host.environment
    await groups.create(env, "web", [])
    async with asyncio.TaskGroup() as tasks:
        for port in range(1, 21):
            tasks.create_task(groups.allow(env, "web", [f"in:tcp:{port * 10}"]))
    assert len((await known(host, laid))["web"]) == 20


async def test_the_next_daemon_lays_on_what_is_recorded(host: SimulatedHost, laid: Laid) -> None:
    await groups.create(host.environment, "web", ["in:icmp"], "x")
    await host.crash()
    await host.boot()
    again = Laid()
    host.network.set_groups = again  # type: ignore[method-assign,assignment]
    await groups.restore(host.environment)
    assert await known(host, again) == {"web": ["in:icmp"]}
    assert host.environment.groups.find("web").description == "x"


async def test_a_network_that_refuses_at_the_start_is_told_of_and_tried_again_with_the_next_change(
    host: SimulatedHost, laid: Laid
) -> None:
    await groups.create(host.environment, "web", [])
    laid.groups, laid.refusals = (), [Unavailable("nft is not installed")]
    seq = host.environment.bus.seq
    await groups.restore(host.environment)
    happening = await anext(host.environment.bus.follow(seq))
    assert (happening.kind, happening.data["what"]) == (groups.EVENT, "not in force")
    assert "nft is not installed" in happening.data["message"]
    await groups.create(host.environment, "db", [])
    assert set(await known(host, laid)) == {"web", "db"}


async def test_a_record_that_can_not_be_understood_is_named(host: SimulatedHost) -> None:
    record = b'{"v": 1, "name": "web", "rules": ["in:what"], "description": ""}'
    await host.store.commit(Put(records.security_group_key("web"), record))
    with pytest.raises(CorruptState, match="security-groups/web"):
        await groups.restore(host.environment)


async def test_a_group_is_not_destroyed_while_a_domain_names_it_also_one_that_is_off(
    host: SimulatedHost, laid: Laid
) -> None:
    env = host.environment
    await groups.create(env, "web", ["in:icmp"])
    text = config("guest").replace('vif = [""]', VIF)
    await define(env, Source(text, "guest.cfg", "/cfg"))
    with pytest.raises(ResourceBusy, match="named by guest"):
        await groups.destroy(env, "web")
    assert [domain.name for domain in groups.look(env, "web").domains] == ["guest"]
    await undefine(env, "guest")
    await groups.destroy(env, "web")
    assert await known(host, laid) == {}


async def test_a_group_is_not_destroyed_while_a_card_that_nobody_records_is_in_it(
    host: SimulatedHost, laid: Laid
) -> None:
    await groups.create(host.environment, "web", [])
    laid.refusals = [NotFound("there is no security group web")]
    with pytest.raises(ResourceBusy, match="a card that is plugged in"):
        await groups.destroy(host.environment, "web")
    assert await known(host, laid) == {"web": []}


async def test_cards_of_an_earlier_daemon_follow_at_once(
    host: SimulatedHost, laid: Laid, monkeypatch: pytest.MonkeyPatch
) -> None:
    mended = []

    async def mend() -> tuple[str, ...]:
        mended.append(laid.rules())
        return ("vif1.0 had no rules",)

    monkeypatch.setattr(host.network, "mend", mend, raising=False)
    await groups.create(host.environment, "web", ["in:icmp"])
    assert mended == [{"web": ["in:icmp"]}]


async def test_a_group_is_not_destroyed_while_a_rule_of_another_names_it(host: SimulatedHost, laid: Laid) -> None:
    env = host.environment
    await groups.create(env, "web", ["in:any:from=group:web"])
    await groups.create(env, "db", ["in:tcp:5432:from=group:web"])
    with pytest.raises(ResourceBusy, match="rules of db"):
        await groups.destroy(env, "web")
    await groups.revoke(env, "db", "1")
    await groups.destroy(env, "web")
    assert set(await known(host, laid)) == {"db"}


async def test_a_domain_in_a_group_that_is_not_there_is_refused_with_the_near_names(
    host: SimulatedHost, laid: Laid
) -> None:
    await groups.create(host.environment, "webs", [])
    text = config("guest").replace('vif = [""]', VIF)
    with pytest.raises(ConfigError) as caught:
        await create(host.environment, Source(text, "guest.cfg", "/cfg"))
    assert caught.value.key == "vif"
    assert "security group web" in caught.value.message
    assert "did you mean webs?" in str(caught.value.hint)
    assert host.live_guests() == []


async def test_a_card_that_nothing_would_filter_is_in_no_group(host: SimulatedHost, laid: Laid) -> None:
    await groups.create(host.environment, "web", [])
    host.network.bridging = False
    text = config("guest").replace('vif = [""]', 'vif = ["groups=web"]')
    with pytest.raises(ConfigError, match="no bridge"):
        await create(host.environment, Source(text, "guest.cfg", "/cfg"))


BAD = (
    (lambda env: groups.create(env, "a b", []), BadInput, "no name of a security group"),
    (lambda env: groups.create(env, "web", []), NameInUse, "there is a security group web already"),
    (lambda env: groups.create(env, "x", ["in:tcp:99999"]), RuleError, "column 8"),
    (lambda env: groups.create(env, "x", ["in:any:from=group:wob"]), BadInput, "not there: wob"),
    (lambda env: groups.create(env, "x", [], "two\nlines"), BadInput, "one line"),
    (lambda env: groups.create(env, "x", [], "x" * 201), BadInput, "200"),
    (lambda env: groups.create(env, "x", [f"in:tcp:{2 * n + 1}" for n in range(201)]), BadInput, "at most 200"),
    (lambda env: groups.change(env, "wob", rules=[]), NotFound, "no security group wob"),
    (lambda env: groups.allow(env, "web", ["in:tcp", "nonsense"]), RuleError, "nonsense"),
    (lambda env: groups.revoke(env, "web", "0"), NotFound, "no rule 0"),
    (lambda env: groups.revoke(env, "web", "9" * 5000), NotFound, "no rule 9999999999"),
    (lambda env: groups.revoke(env, "web", "in:udp"), NotFound, "does not allow in:udp"),
    (lambda env: groups.destroy(env, "wob"), NotFound, "no security group wob"),
)


@pytest.mark.parametrize(("act", "kind", "said"), BAD, ids=[said for _, _, said in BAD])
async def test_what_can_not_be_is_said_and_nothing_is_changed(
    host: SimulatedHost, laid: Laid, act: object, kind: type[Exception], said: str
) -> None:
    await groups.create(host.environment, "web", ["in:icmp"])
    with pytest.raises(kind, match=said):
        await act(host.environment)  # type: ignore[operator]
    assert await known(host, laid) == {"web": ["in:icmp"]}
