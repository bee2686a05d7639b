"""Rules of security groups: what they mean, how they are written back, and what is said of those that are none."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as some

from wirt.config.security import LONGEST_RULE, RuleError, parse_rule, write_rule
from wirt.model.security import Allow, Direction, PortRange, Protocol, group_name_fault

IN, OUT = Direction.IN, Direction.OUT
TCP, UDP, ICMP, ANY = Protocol.TCP, Protocol.UDP, Protocol.ICMP, Protocol.ANY


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("in:any", Allow(IN, ANY)),
        ("in:icmp", Allow(IN, ICMP)),
        ("out:udp:53:to=192.0.2.1", Allow(OUT, UDP, (PortRange(53, 53),), ("192.0.2.1/32",))),
        (
            "in:tcp:22,80-90:from=10.0.0.0/8",
            Allow(IN, TCP, (PortRange(22, 22), PortRange(80, 90)), ("10.0.0.0/8",)),
        ),
        ("in:tcp:5432:from=group:web", Allow(IN, TCP, (PortRange(5432, 5432),), group="web")),
        ("in:any:from=2001:db8::/32,::1", Allow(IN, ANY, peers=("2001:db8::/32", "::1/128"))),
        ("out:tcp:to=group:db.clients_1", Allow(OUT, TCP, group="db.clients_1")),
        ("in:tcp:1-65535", Allow(IN, TCP, (PortRange(1, 65535),))),
    ],
)
def test_a_rule_means_what_it_says(text: str, meaning: Allow) -> None:
    assert parse_rule(text) == meaning


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("in:tcp:80-90,22", "in:tcp:22,80-90"),
        ("in:tcp:80-85,85-90,91", "in:tcp:80-91"),
        ("in:tcp:0022", "in:tcp:22"),
        ("in:any:from=10.0.0.1", "in:any:from=10.0.0.1/32"),
        ("in:any:from=2001:DB8:0::1/128", "in:any:from=2001:db8::1/128"),
        ("in:any:from=10.0.0.0/8,10.0.0.0/255.0.0.0", "in:any:from=10.0.0.0/8"),
    ],
)
def test_a_rule_has_one_canonical_form(text: str, canonical: str) -> None:
    assert write_rule(parse_rule(text)) == canonical
    assert parse_rule(canonical) == parse_rule(text)


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("", 1, "expected the direction (in, out), which is missing"),
        ("IN:tcp", 1, "not 'IN'"),
        ("both:tcp", 1, "not 'both'"),
        ("in", 3, "expected : and the protocol (any, tcp, udp, icmp)"),
        ("in:", 4, "which is missing"),
        ("in:sctp:22", 4, "not 'sctp'"),
        ("in:tcp:", 8, "expected a port"),
        ("in:tcp:0", 8, "from 1 to 65535"),
        ("in:tcp:22,65536", 11, "not '65536'"),
        ("in:tcp:22,80-", 14, "expected a port"),
        ("in:tcp:22,90-80", 11, "ends before it begins"),
        ("in:tcp:ssh", 8, "not 'ssh'"),
        ("in:tcp:-5", 8, "expected a port"),
        ("in:tcp:٢٢", 8, "expected a port"),
        ("in:icmp:8", 9, "icmp has no ports"),
        ("in:any:22", 8, "any has no ports"),
        ("in:tcp:22:10.0.0.0/8", 11, "expected from=PEERS or the end"),
        ("in:tcp:22:to=10.0.0.0/8", 11, "expected from=, which goes with in"),
        ("out:tcp:22:from=10.0.0.0/8", 12, "expected to=, which goes with out"),
        ("in:tcp:22:from=", 16, "expected an address"),
        ("in:tcp:22:from=10.0.0.5/8", 16, "the network is 10.0.0.0/8"),
        ("in:tcp:22:from=10.0.0.0/8,10.0.0.300", 27, "not '10.0.0.300'"),
        ("in:tcp:22:from=fe80::1%eth0", 16, "expected an address"),
        ("in:tcp:22:from=group:", 22, "no name of a security group"),
        ("in:tcp:22:from=group:a b", 22, "no name of a security group"),
        ("in:tcp:22:from=group:web,10.0.0.0/8", 22, "write two rules"),
        ("in:tcp:22:from=10.0.0.0/8,group:web", 27, "write two rules"),
        ("in:tcp:22 ", 8, "not '22 '"),
        ("in:tcp:22\n", 8, "expected a port"),
    ],
)
def test_a_wrong_rule_is_told_where_it_is_wrong_and_what_was_expected(text: str, column: int, said: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule(text)
    assert caught.value.column == column
    assert said in caught.value.message
    assert f"column {column}" in caught.value.message
    assert "in:tcp:22,80-90:from=10.0.0.0/8" in str(caught.value.hint)


def test_a_rule_without_end_is_refused_and_not_repeated_in_full() -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule("in:tcp:" + "1," * LONGEST_RULE)
    assert len(caught.value.message) < 400
    with pytest.raises(RuleError, match="at most 64 ranges"):
        parse_rule("in:tcp:" + ",".join(map(str, range(1, 200, 2))))
    with pytest.raises(RuleError, match="at most 64 networks"):
        parse_rule("in:any:from=" + ",".join(f"10.0.{n}.0/24" for n in range(65)))


_PORTS = some.integers(1, 65535)
_RANGES = some.lists(some.tuples(_PORTS, _PORTS).map(lambda pair: f"{min(pair)}-{max(pair)}"), max_size=5)
_NETWORKS = some.one_of(
    some.tuples(some.integers(0, 2**32 - 1), some.integers(0, 32)),
    some.tuples(some.integers(2**32, 2**128 - 1), some.integers(0, 128)),
).map(lambda pair: str(ip_network(pair, strict=False)))
_NAMES = some.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", fullmatch=True)
_PEERS = some.one_of(
    some.just(""), some.lists(_NETWORKS, min_size=1, max_size=5).map(",".join), _NAMES.map("group:{}".format)
)


@given(some.sampled_from(Direction), some.sampled_from(Protocol), _RANGES, _PEERS)
def test_what_is_written_is_read_back_the_same(
    direction: Direction, protocol: Protocol, ranges: list[str], peers: str
) -> None:
    text = f"{direction}:{protocol}"
    if ranges and protocol in (TCP, UDP):
        text += ":" + ",".join(ranges)
    if peers:
        text += f":{'from' if direction is IN else 'to'}={peers}"
    rule = parse_rule(text)
    assert parse_rule(write_rule(rule)) == rule
    assert write_rule(parse_rule(write_rule(rule))) == write_rule(rule)
    for one, next_ in zip(rule.ports, rule.ports[1:], strict=False):
        assert one.first <= one.last < next_.first - 1, "ranges are in order, and none touches the next"


_PIECES = some.lists(
    some.sampled_from(
        [
            "in",
            "out",
            ":",
            "tcp",
            "udp",
            "any",
            "icmp",
            "22",
            "-",
            ",",
            "from=",
            "to=",
            "10.0.0.0/8",
            "::1",
            "group:",
        ]
    )
    | some.text(max_size=4),
    max_size=12,
).map("".join)


@given(some.one_of(some.text(), _PIECES))
def test_any_text_is_a_rule_or_is_refused_at_a_column_of_it(text: str) -> None:
    try:
        rule = parse_rule(text)
    except RuleError as error:
        assert 1 <= error.column <= len(text) + 1
        return
    assert parse_rule(write_rule(rule)) == rule


@pytest.mark.parametrize("name", ["web", "0", "a.b_c-d", "x" * 32])
def test_names_of_groups(name: str) -> None:
    assert group_name_fault(name) is None


@pytest.mark.parametrize("name", ["", "-web", ".web", "web/db", "a b", "x" * 33, "wéb", "web\n", "../x"])
def test_what_can_be_no_name_of_a_group(name: str) -> None:
    fault = group_name_fault(name)
    assert fault is not None
    assert "security group" in fault
