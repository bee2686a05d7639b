"""What the packet filter is compiled to, and how it changes, without a kernel."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wirt.model.devices import Rate
from wirt.model.errors import NotFound
from wirt.model.security import Allow, Direction, PortRange, Protocol, SecurityGroup
from wirt.plan.filters import (
    Commands,
    Filter,
    Port,
    Present,
    Ruleset,
    compile_filter,
    compile_port,
    declaration,
    port_key,
    transaction,
)
from wirt.plan.filters_nft import DECLARED
from wirt.plan.filters_spoof import link_local
from wirt.plan.policy import PortPolicy

WEB = SecurityGroup("web", (Allow(Direction.IN, Protocol.TCP, (PortRange(80, 80),)),))
OUT = SecurityGroup("out", (Allow(Direction.OUT, Protocol.UDP, (PortRange(53, 53),), ("10.0.0.0/8", "::/0")),))
PEERS = SecurityGroup("peers", (Allow(Direction.IN, group="web"),))
GROUPS = {group.name: group for group in (WEB, OUT, PEERS)}
NOTHING = Present({}, {}, {}, frozenset())


def port(index: int, **more: Any) -> Port:
    return Port(index, f"vif{index}.0", PortPolicy(f"00:16:3e:00:00:{index:02x}", **more))


policies = st.builds(
    lambda pinned, antispoof, groups, limited: {
        "addresses": ("10.0.0.1", "2001:db8::1") if pinned else (),
        "antispoof": antispoof,
        "groups": tuple(groups),
        "rate_out": Rate(1000) if limited else None,
    },
    st.booleans(),
    st.booleans(),
    st.lists(st.sampled_from(sorted(GROUPS)), unique=True),
    st.booleans(),
)


class Kernel:
    """As much of nft as tells whether a transaction names what is there, and no more."""

    def __init__(self) -> None:
        self.chains: dict[tuple[str, str], list[str]] = {}
        self.sets: dict[str, set[str]] = {name: set() for name in DECLARED}

    def apply(self, commands: list[str]) -> None:
        for command in json.loads(transaction(commands))["nftables"]:
            ((verb, what),) = command.items()
            ((kind, body),) = what.items()
            getattr(self, f"{verb}_{'set' if kind == 'map' else kind}")(body)
        self.check()

    def flush_table(self, body: Any) -> None:
        for key, rules in self.chains.items():
            if key[0] == body["family"]:
                rules.clear()

    def add_chain(self, body: Any) -> None:
        self.chains.setdefault((body["family"], body["name"]), [])

    def flush_chain(self, body: Any) -> None:
        self.chains[body["family"], body["name"]].clear()

    def delete_chain(self, body: Any) -> None:
        assert self.chains.pop((body["family"], body["name"])) == [], "a chain with rules is busy"

    def add_rule(self, body: Any) -> None:
        self.chains[body["family"], body["chain"]].append(json.dumps(body["expr"]))

    def add_set(self, body: Any) -> None:
        assert body["name"] not in self.sets
        self.sets[body["name"]] = set()

    def delete_set(self, body: Any) -> None:
        del self.sets[body["name"]]

    def add_element(self, body: Any) -> None:
        elements = {json.dumps(element) for element in body["elem"]}
        assert not elements & self.sets[body["name"]]
        self.sets[body["name"]] |= elements

    def delete_element(self, body: Any) -> None:
        elements = {json.dumps(element) for element in body["elem"]}
        assert elements <= self.sets[body["name"]], "an element that is not there can't be deleted"
        self.sets[body["name"]] -= elements

    def check(self) -> None:
        """Nothing names what is not there."""
        names = {name for _, name in self.chains}
        for text in (*(rule for rules in self.chains.values() for rule in rules), *map(str, self.sets.values())):
            for word in text.replace("\\", "").split('"'):
                assert not word.startswith("@") or word[1:] in self.sets, word
        for rules in self.chains.values():
            for rule in rules:
                for expression in json.loads(rule):
                    for verdict in ("jump", "goto"):
                        if verdict in expression:
                            assert expression[verdict]["target"] in names

    def state(self) -> object:
        return {key: list(rules) for key, rules in self.chains.items()}, {k: set(v) for k, v in self.sets.items()}


def whole(ports: dict[int, Port], groups: dict[str, SecurityGroup]) -> tuple[Ruleset, list[str]]:
    ruleset = Ruleset("t", compile_filter(Filter(ports, groups)))
    return ruleset, Commands("t").replace(NOTHING, ruleset.everything())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(2, 5), st.none() | policies), max_size=8))
def test_changes_lead_where_the_whole_would(steps: list[tuple[int, dict[str, Any] | None]]) -> None:
    kernel = Kernel()
    ports: dict[int, Port] = {}
    ruleset, commands = whole({}, GROUPS)
    kernel.apply(commands)
    for index, policy in steps:
        if policy is None:
            ports.pop(index, None)
            ruleset, commands = ruleset.change({}, [port_key(index)])
        else:
            ports[index] = port(index, **policy)
            ruleset, commands = ruleset.change(compile_port(ports[index], GROUPS))
        kernel.apply(commands)
        ruleset, commands = ruleset.change({}, ruleset.unused())
        kernel.apply(commands)
    anew = Kernel()
    anew.apply(whole(ports, GROUPS)[1])
    assert kernel.state() == anew.state()


def test_what_is_there_already_costs_no_command() -> None:
    ruleset, _ = whole({2: port(2, groups=("web",))}, GROUPS)
    assert ruleset.change(compile_port(port(2, groups=("web",)), GROUPS))[1] == []


def test_a_port_more_costs_the_same_however_many_there_are() -> None:
    few, _ = whole({2: port(2)}, GROUPS)
    many, _ = whole({index: port(index) for index in range(2, 200)}, GROUPS)
    more = compile_port(port(250, addresses=("10.0.0.1",)), GROUPS)
    assert few.change(more)[1] == many.change(more)[1]


def test_ports_in_groups_have_neither_chains_nor_sets_of_their_own() -> None:
    """Of which each costs the kernel time with each other, and a thousand of them seconds."""
    few, many = (
        whole({index: port(index, groups=("web", "out")) for index in range(2, most)}, GROUPS)[0].everything()
        for most in (3, 100)
    )
    assert (few.chains.keys(), few.tables.keys()) == (many.chains.keys(), many.tables.keys())


def test_whatever_is_learned_costs_a_token_of_its_port() -> None:
    """Without which one guest could fill the sets that all share, by renewing alone."""
    everything = whole({2: port(2, groups=("web", "out"))}, GROUPS)[0].everything()
    learning = 0
    for chain in everything.chains.values():
        for rule in chain.rules:
            sets = [
                each["set"] for each in json.loads(rule.text) if "set" in each and each["set"]["op"] != "delete"
            ]
            tokens = ["stmt" in each for each in sets]
            assert tokens in ([], [True, False, False])
            for taken, _, learned in [sets] if sets else []:
                key = learned["elem"]["elem"]["val"]["concat"]
                assert key[0] == taken["elem"]
                learning += 1
    assert learning > 20


def test_no_key_has_more_items_than_nft_keeps_the_types_of() -> None:
    tables = whole({2: port(2, groups=("web", "out"))}, GROUPS)[0].everything().tables
    assert max(len(table.types) for table in tables.values()) <= 5


def test_sets_that_frames_fill_take_no_room_beforehand() -> None:
    """The kernel makes room at once for as many as the lowest 16 bits of the size say."""
    tables = whole({2: port(2, groups=("web", "out"))}, GROUPS)[0].everything().tables
    sizes = [table.size for table in tables.values() if table.timeout_s is not None]
    assert sizes
    assert all(size is not None and size > 0 and size % 65536 == 0 for size in sizes)


def test_two_members_with_one_address_are_one_entry_until_both_are_gone() -> None:
    ports = {index: port(index, groups=("web",), addresses=("10.0.0.1",)) for index in (2, 3)}
    kernel = Kernel()
    ruleset, commands = whole(ports, GROUPS)
    kernel.apply(commands)
    ruleset, commands = ruleset.change({}, [port_key(2)])
    kernel.apply(commands)
    assert kernel.sets["members-web-4"]
    kernel.apply(ruleset.change({}, [port_key(3)])[1])
    assert not kernel.sets["members-web-4"]


def test_no_integer_is_longer_than_nfts_json_takes() -> None:
    """nft 1.0.6 reads none beyond 63 bits, and then does nothing and says that all is well."""
    ports = {2: port(2, addresses=("ffff::1", "255.255.255.254"), groups=("web", "out"), rate_out=Rate(2**40))}

    def integers(value: object) -> list[int]:
        if isinstance(value, dict):
            return [each for item in value.values() for each in integers(item)]
        if isinstance(value, list):
            return [each for item in value for each in integers(item)]
        return [value] if isinstance(value, int) else []

    assert max(integers(json.loads(transaction(whole(ports, GROUPS)[1])))) < 2**63


def test_members_elsewhere_are_known_by_their_addresses() -> None:
    parts = compile_filter(Filter({}, GROUPS, {"web": ("192.0.2.7", "2001:db8::7")}))
    keys = {(element.table, element.key) for element in parts["group web"].elements}
    assert keys == {("members-web-4", ("192.0.2.7",)), ("members-web-6", ("2001:db8::7",))}


def test_a_group_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(NotFound, match="no security group nil") as refusal:
        compile_port(port(2, groups=("nil",)), GROUPS)
    assert refusal.value.hint is not None
    assert "out, peers, web" in refusal.value.hint


def test_the_link_local_address_is_made_of_the_mac() -> None:
    assert str(link_local("00:16:3e:12:34:56")) == "fe80::216:3eff:fe12:3456"


def test_the_declaration_names_each_set_once() -> None:
    assert all(declaration("t").count(f" set {name} ") == 1 for name in DECLARED)
