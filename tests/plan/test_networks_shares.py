"""What a way out carries is shared by weight, and nothing of it is planned twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirt.model.errors import ConfigError
from wirt.model.network import NetworkConfig, NetworkMode
from wirt.network.fabric_fake import FakeFabric, bare_host
from wirt.plan import networks_actions as actions
from wirt.plan.networks import Wanted
from wirt.plan.networks_shares import MOST_QUANTUM, QUANTUM, Share, Sharing, classes, sharing_of
from wirt.plan.networks_wishes import Wish, config_of

from .test_networks import TAG, do, nat, uplinked, vxlan

MIB = 1024**2
WEB, DB = Share("00:16:3e:00:00:01", 300), Share("00:16:3e:00:00:02", 100)


def shares(*found: Share) -> dict[str, tuple[Share, ...]]:
    return {"lan": found, "office": found}


def test_parts_are_as_weights_say_and_there_is_one_for_all_that_is_no_guests() -> None:
    found = classes(Sharing("eth1", 5_000_000, True, (WEB, DB)))
    assert [(each.mac, each.bytes_per_s) for each in found] == [
        (WEB.mac, 3_000_000),
        (DB.mac, 1_000_000),
        (None, 1_000_000),
    ]
    assert [each.quantum for each in found] == [3 * QUANTUM, QUANTUM, QUANTUM]


@given(st.lists(st.integers(1, 1000), max_size=20), st.integers(12_500, 2**32 - 1))
def test_no_more_is_given_than_there_is_and_nobody_is_left_out(weights: list[int], most: int) -> None:
    sharing = Sharing("eth1", most, True, tuple(Share(f"m{n:02}", weight) for n, weight in enumerate(weights)))
    found = classes(sharing)
    assert sum(each.bytes_per_s for each in found) <= most + 1000 * len(found)
    assert all(QUANTUM <= each.quantum <= MOST_QUANTUM for each in found)
    assert len({each.number for each in found}) == len(found) == len(weights) + 1
    for weight, each in zip(weights, found, strict=False):
        assert each.bytes_per_s >= most * weight // (sum(weights) + 100)


@pytest.mark.parametrize(
    ("network", "device", "outward"),
    [
        (nat(share=MIB), "br-lan", False),
        (replace(uplinked(), share=MIB), "eth1", True),
        (replace(uplinked(vlan=7), share=MIB), "vl-office", True),
        (replace(vxlan(), share=MIB), "vx-wide", True),
    ],
    ids=str,
)
def test_it_is_shared_where_frames_leave_the_network(network: NetworkConfig, device: str, outward: bool) -> None:
    lower = device if device[:3] in ("vl-", "vx-") else None
    found = sharing_of(network, lower, (DB, WEB))
    assert found == Sharing(device, MIB, outward, (WEB, DB))
    assert sharing_of(replace(network, share=None), lower, (WEB,)) is None


def test_what_is_shared_is_not_shared_again_until_something_changes() -> None:
    fabric, network = FakeFabric(bare_host()), nat(share=MIB)
    wanted = Wanted(TAG, (network,), shares=shares(WEB))
    assert actions.SetSharing("lan", Sharing("br-lan", MIB, False, (WEB,))) in do(fabric, wanted).actions
    assert do(fabric, wanted).actions == ()
    for changed in (shares(WEB, DB), shares(replace(WEB, weight=1), DB), shares()):
        (action,) = do(fabric, replace(wanted, shares=changed)).actions
        assert isinstance(action, actions.SetSharing)
        assert do(fabric, replace(wanted, shares=changed)).actions == ()
    fabric.state = replace(fabric.state, sharing={"br-lan": ""})
    assert len(do(fabric, wanted).actions) == 1, "somebody else's hands"
    assert do(fabric, replace(wanted, networks=(replace(network, share=None),))).actions == (
        actions.EndSharing("", "br-lan"),
    )


def test_with_the_network_its_sharing_goes_and_a_blocked_ones_stays() -> None:
    fabric, network = FakeFabric(bare_host()), replace(uplinked(), share=MIB)
    wanted = Wanted(TAG, (network,), shares=shares(WEB))
    do(fabric, wanted)
    assert set(fabric.state.sharing) == {"eth1"}
    links = {name: link for name, link in fabric.state.links.items() if name != "eth1"}
    without_uplink = FakeFabric(replace(fabric.state, links=links))
    assert not any(isinstance(each, actions.EndSharing) for each in do(without_uplink, wanted).actions)
    do(fabric, Wanted(TAG, (), leaving=(network,)))
    assert fabric.state.sharing == {}


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish("lan", "isolated", share="1Gb/s"), "no way out"),
        (Wish("lan", "bridge", bridge="br0", share="1Gb/s"), "somebody else's"),
        (Wish("lan", "nat", share="fast"), "no rate"),
        (Wish("lan", "nat", share="1Kb/s"), "from 12500B/s"),
    ],
)
def test_what_can_not_be_shared_is_refused(wish: Wish, said: str) -> None:
    state = bare_host()
    bridge = replace(state.links["eth1"], name="br0", index=9, kind="bridge")
    with pytest.raises(ConfigError) as error:
        config_of(wish, (), replace(state, links={**state.links, "br0": bridge}), TAG)
    assert said in str(error.value)


def test_a_wish_says_what_the_way_out_carries() -> None:
    assert config_of(Wish("lan", "nat", share="1Gb/s"), (), bare_host(), TAG).share == 125_000_000
    assert NetworkMode(config_of(Wish("lan"), (), bare_host(), TAG).mode) is NetworkMode.NAT
