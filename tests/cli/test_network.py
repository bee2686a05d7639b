"""``wirt network``: what is asked of the server, and how its answers read."""

from __future__ import annotations

import json

import pytest

from .canned import Canned, Request, problem
from .conftest import Run

NETWORK = {
    "name": "lan",
    "mode": "nat",
    "bridge": "br-lan",
    "state": "up",
    "vifs": 1,
    "address": "10.5.0.1/24",
    "address6": None,
    "dhcp": "10.5.0.2-10.5.0.254",
    "dns": True,
    "domain": "lan",
    "share": "1Gb/s",
}
DETAIL = {
    "network": NETWORK,
    "devices": [
        {"name": "br-lan", "kind": "bridge", "state": "up", "mtu": 1500, "addresses": ["10.5.0.1/24"]},
        {"name": "eth1", "kind": None, "state": "missing", "mtu": None, "addresses": []},
    ],
    "vifs": [
        {"domain": "web", "domid": 3, "index": 0, "mac": "00:16:3e:00:00:01", "tap": "vif3.0", "addresses": []}
    ],
    "leases": [{"mac": "00:16:3e:00:00:01", "address": "10.5.0.7", "name": "web", "until": 3600.0}],
    "server": 4711,
    "mended": [{"at": 0.0, "network": "lan", "what": "make the bridge br-lan"}],
    "api": "v1",
}
INFO = """\
name                   : lan
mode                   : nat
state                  : up
bridge                 : br-lan
address                : 10.5.0.1/24
dhcp                   : 10.5.0.2-10.5.0.254
dns                    : yes
domain                 : lan
shared                 : 1Gb/s of what guests are sent, by weights
dnsmasq                : 4711
mended                 : 1970-01-01 00:00:00 make the bridge br-lan

Device  Kind    State    MTU   Addresses
br-lan  bridge  up       1500  10.5.0.1/24
eth1    -       missing  -     -

Domain  ID  Idx  Mac Addr.          Tap     Addresses
web     3   0    00:16:3e:00:00:01  vif3.0  -

Leased    Mac Addr.          Name  Until
10.5.0.7  00:16:3e:00:00:01  web   01:00:00
"""
JOB = {
    "id": "j1",
    "kind": "network-create",
    "subject": "network lan",
    "state": "done",
    "progress": 1.0,
    "message": "",
    "steps": [],
    "created_at": 0.0,
    "finished_at": 1.0,
    "error": None,
    "result": {"name": "lan"},
    "notices": [],
    "api": "v1",
}


def test_list_has_one_row_a_network(wirtd: Canned, wirt: Run) -> None:
    office = {
        **NETWORK,
        "name": "office",
        "mode": "bridge",
        "address": None,
        "uplink": "eth1",
        "vlan": 10,
        "vifs": 0,
    }
    wirtd.routes["GET /v1/networks"] = (200, {"networks": [NETWORK, office], "api": "v1"})
    assert wirt("network", "list").out == (
        "Name    Mode    Bridge  Address      Uplink        Vifs  State\n"
        "lan     nat     br-lan  10.5.0.1/24  -             1     up\n"
        "office  bridge  br-lan  -            eth1 VLAN 10  0     up\n"
    )
    assert json.loads(wirt("network", "list", "-o", "json").out)["networks"][1]["vlan"] == 10


def test_info_tells_all_there_is(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/networks/lan"] = (200, DETAIL)
    assert wirt("network", "info", "lan").out == INFO


def test_info_makes_what_others_wrote_fit_for_a_terminal(wirtd: Canned, wirt: Run) -> None:
    evil = {**DETAIL, "network": {**NETWORK, "domain": "\x1b[2J"}}
    wirtd.routes["GET /v1/networks/lan"] = (200, evil)
    assert "\x1b" not in wirt("network", "info", "lan").out


def test_create_sends_what_was_said_and_nothing_else(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes |= {"POST /v1/networks": (200, JOB), "GET /v1/networks/lan": (200, DETAIL)}
    words = ["create", "lan", "--address", "10.5.0.1/24", "--no-dhcp", "--no-dns"]
    words += ["--peer", "192.0.2.1", "--peer", "192.0.2.2"]
    result = wirt("network", *words)
    assert (result.code, result.out) == (0, "lan: nat, bridge br-lan, 10.5.0.1/24, DHCP 10.5.0.2-10.5.0.254\n")
    assert wirtd.requests[0].body == {
        "name": "lan",
        "address": "10.5.0.1/24",
        "dhcp": "none",
        "dns": False,
        "peers": ["192.0.2.1", "192.0.2.2"],
    }


def test_a_dry_run_prints_the_plan_and_makes_nothing(wirtd: Canned, wirt: Run) -> None:
    plan = {
        "actions": [
            {"network": "", "action": "set-rules", "sentence": "put the rules between networks into force"},
            {"network": "lan", "action": "add-bridge", "sentence": "make the bridge br-lan"},
        ],
        "problems": [{"network": "lan", "message": "there is no way out", "hint": "make one"}],
        "config": NETWORK,
        "api": "v1",
    }
    wirtd.routes["POST /v1/network-plan"] = (200, plan)
    assert wirt("network", "create", "lan", "-n").out == (
        "lan: nat, bridge br-lan, 10.5.0.1/24, DHCP 10.5.0.2-10.5.0.254\n"
        "all  put the rules between networks into force\n"
        "lan  make the bridge br-lan\n"
        "lan: there is no way out\n"
        "  hint: make one\n"
    )
    assert wirtd.asked() == ["POST /v1/network-plan"]


def test_a_plan_of_nothing_says_so(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/network-plan?network=lan"] = (200, {"actions": [], "problems": [], "api": "v1"})
    result = wirt("network", "plan", "lan")
    assert (result.code, result.out) == (0, "Nothing is to be done.\n")


def test_a_refusal_names_the_key(wirtd: Canned, wirt: Run) -> None:
    def refuse(request: Request) -> tuple[int, object]:
        return problem(422, "there is no mode x", key="mode", hint="nat, routed", code="config-error")

    wirtd.routes["POST /v1/networks"] = refuse
    result = wirt("network", "create", "lan", "--mode", "x")
    assert (result.code, result.err) == (1, "wirt: mode: there is no mode x\n  hint: nat, routed\n")


def test_a_name_is_a_part_of_the_path_whatever_it_holds(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["POST /v1/networks/a%2F..%2Fb/destroy"] = (200, JOB)
    assert wirt("network", "destroy", "a/../b").code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("network",),
        ("network", "create"),
        ("network", "info"),
        ("network", "destroy"),
        ("network", "make", "lan"),
        ("network", "list", "lan"),
        ("network", "info", "lan", "--mtu", "9000"),
        ("network", "destroy", "lan", "-n"),
        ("network", "create", "lan", "--mtu", "many"),
        ("network", "create", "lan", "--dhcp", "a-b", "--no-dhcp"),
        ("network", "create", "lan", "--dns", "--no-dns"),
    ],
    ids=" ".join,
)
def test_a_command_line_that_is_wrong_is_told_before_anyone_is_asked(
    wirtd: Canned, wirt: Run, words: tuple[str, ...]
) -> None:
    result = wirt(*words)
    assert (result.code, result.out) == (2, "")
    assert "hint:" in result.err
    assert wirtd.asked() == []
