"""What people and their scripts have read from xl for years, byte by byte (Xen 4.17's real output)."""

from __future__ import annotations

import json

from . import samples
from .canned import Canned
from .conftest import Run

LIST = (
    "Name                                        ID   Mem VCPUs\tState\tTime(s)\n"
    "Domain-0                                     0  1024     2     r-----     127.9\n"
    "pv1                                          1   128     1     -b----      23.1\n"
    "pvh1                                         2   128     1     ------       0.4\n"
)
VCPUS = (
    "Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)\n"
    "Domain-0                             0     0    0   r--      59.1  all / all\n"
    "Domain-0                             0     1    1   -b-      62.3  all / all\n"
    "pv1                                  1     0    1   -b-      20.5  1 / all\n"
    "pv1                                  1     1    -   --p       4.3  all / all\n"
)
UPTIME = (
    "Name                                ID Uptime\n"
    "Domain-0                             0  0:03:24\n"
    "pv1                                  1  0:02:20\n"
)
INFO = """\
host                   : xenlab
release                : 6.1.0-56-amd64
machine                : x86_64
nr_cpus                : 2
total_memory           : 3071
free_memory            : 2014
wirt_version           : 0.1.0
hypervisor             : qemu
hypervisor_version     : 10.0.2
accelerator            : tcg
accelerator_reason     : /dev/kvm is not there
guest_types            : hvm pvh pv
networking             : bridges
home                   : /var/lib/wirt
daemon_pid             : 4711
daemon_uptime          : 1:02:03
note                   : pv and pvh are the same direct boot here
"""


def test_list_prints_what_xl_prints(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/domains"] = (
        200,
        samples.domain_list(
            samples.domain_0(),
            samples.domain("pv1", 1, "-b----"),
            samples.domain("pvh1", 2, "------", cpu_time_s=0.4),
        ),
    )
    result = wirt("list")
    assert (result.code, result.out, result.err) == (0, LIST, "")


def test_list_shows_domains_that_are_off_only_with_all_and_without_an_id(wirtd: Canned, wirt: Run) -> None:
    off = samples.domain("db", None, "------", cpu_time_s=0.0)
    wirtd.routes["GET /v1/domains"] = (200, samples.domain_list(samples.domain_0()))
    wirtd.routes["GET /v1/domains?all=1"] = (200, samples.domain_list(samples.domain_0(), off))
    assert "db" not in wirt("list").out
    row = wirt("list", "--all").out.splitlines()[2]
    assert row == "db                                           -   128     1     ------       0.0"


def test_list_of_a_name_prints_the_header_and_that_row(wirtd: Canned, wirt: Run) -> None:
    domains = samples.domain_list(samples.domain_0(), samples.domain("pv1", 1, "-b----"))
    wirtd.routes["GET /v1/domains?all=1"] = (200, domains)
    for ref in ("pv1", "1", samples.UUID):
        assert wirt("list", ref).out.splitlines() == [LIST.splitlines()[0], LIST.splitlines()[2]]


def test_list_verbose_has_xls_columns_and_the_reason_as_a_number(wirtd: Canned, wirt: Run) -> None:
    ended = samples.domain("pv1", 1, "---s--", end_reason="crash")
    wirtd.routes["GET /v1/domains"] = (200, samples.domain_list(ended))
    header, row = wirt("list", "-v").out.splitlines()
    assert header.endswith("Time(s)   UUID                            Reason-Code\tSecurity Label")
    assert row.endswith(f"    23.1 {samples.UUID}        3                -")


def test_list_long_is_an_array_of_details_without_those_that_have_just_ended(wirtd: Canned, wirt: Run) -> None:
    gone = samples.domain("gone", 2, uuid="11111111-0000-0000-0000-000000000000")
    pv1 = samples.domain("pv1", 1)
    zero = samples.domain_0()
    wirtd.routes["GET /v1/domains"] = (200, samples.domain_list(zero, pv1, gone))
    wirtd.routes["GET /v1/domains/0"] = (200, samples.detail(zero))
    wirtd.routes[f"GET /v1/domains/{samples.UUID}"] = (200, samples.detail(pv1))
    assert json.loads(wirt("list", "-l").out) == [samples.detail(zero), samples.detail(pv1)]


def test_vcpu_list_prints_what_xl_prints(wirtd: Canned, wirt: Run) -> None:
    def vcpu(name: str, domid: int, index: int, cpu: int | None, flags: str, time_s: float, hard: str) -> object:
        return {
            "domain": name,
            "domid": domid,
            "index": index,
            "cpu": cpu,
            "flags": flags,
            "cpu_time_s": time_s,
            "affinity_hard": hard,
            "affinity_soft": "all",
        }

    zero = [vcpu("Domain-0", 0, 0, 0, "r--", 59.1, "all"), vcpu("Domain-0", 0, 1, 1, "-b-", 62.3, "all")]
    one = [vcpu("pv1", 1, 0, 1, "-b-", 20.5, "1"), vcpu("pv1", 1, 1, None, "--p", 4.3, "all")]
    wirtd.routes["GET /v1/vcpus"] = (200, {"vcpus": [*zero, *one]})
    wirtd.routes["GET /v1/vcpus?domain=pv1"] = (200, {"vcpus": one})
    assert wirt("vcpu-list").out == VCPUS
    assert wirt("vcpu-list", "pv1").out.splitlines() == [VCPUS.splitlines()[0], *VCPUS.splitlines()[3:]]
    assert json.loads(wirt("vcpu-list", "-o", "json").out) == {"vcpus": [*zero, *one]}


def test_uptime_prints_what_xl_prints(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/domains"] = (200, samples.domain_list(samples.domain_0(), samples.domain("pv1", 1)))
    assert wirt("uptime").out == UPTIME


def test_uptime_counts_days_as_xl_does(wirtd: Canned, wirt: Run) -> None:
    day = 86400
    domains = [samples.domain("a", 1, uptime_s=day + 7384.0), samples.domain("b", 2, uptime_s=2 * day + 1.0)]
    wirtd.routes["GET /v1/domains"] = (200, samples.domain_list(*domains))
    rows = wirt("uptime").out.splitlines()[1:]
    assert [row[39:] for row in rows] == ["1 day,  2:03:04", "2 days,  0:00:01"]
    short = wirt("uptime", "-s").out.splitlines()
    assert [row[9:] for row in short] == [" up 1 day,  2:03, a (1)", " up 2 days,  0:00, b (2)"]


def test_info_uses_xls_names_and_layout(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/info"] = (200, samples.INFO)
    assert wirt("info").out == INFO
    assert json.loads(wirt("info", "-o", "json").out) == samples.INFO


def test_network_list_says_how_to_reach_the_guest(wirtd: Canned, wirt: Run) -> None:
    vif = {
        "index": 0,
        "mac": "00:16:3e:00:00:01",
        "model": "virtio-net",
        "kind": "user",
        "addresses": ["10.0.2.15"],
        "forwards": [{"protocol": "tcp", "host_address": "127.0.0.1", "host_port": 2222, "guest_port": 22}],
        "state": "attached",
        "link": "down",
        "statistics": None,
    }
    wirtd.routes["GET /v1/domains/pv1"] = (200, samples.detail(samples.domain("pv1", 1, vifs=[vif])))
    header, row = wirt("network-list", "pv1").out.splitlines()
    assert " ".join(header.split()) == "Idx Mac Addr. Model Kind Bridge Tap State Link Addresses Forwards"
    assert row.split() == [
        "0",
        "00:16:3e:00:00:01",
        "virtio-net",
        "user",
        "-",
        "-",
        "attached",
        "down",
        "10.0.2.15",
        "tcp:127.0.0.1:2222->22",
    ]
    assert json.loads(wirt("network-list", "pv1", "-o", "json").out)["domains"][0]["vifs"] == [vif]


def test_network_list_shows_what_cards_carried(wirtd: Canned, wirt: Run) -> None:
    names = ("rx_bytes", "rx_packets", "rx_dropped", "tx_bytes", "tx_packets", "tx_dropped")
    counted = dict(zip(names, range(11, 17), strict=True))
    vifs = [
        {"index": 0, "mac": "a", "model": "", "kind": "bridge", "tap": "vif1.0", "statistics": counted},
        {"index": 1, "mac": "b", "model": "", "kind": "user", "statistics": None},
    ]
    wirtd.routes["GET /v1/domains/pv1"] = (200, samples.detail(samples.domain("pv1", 1, vifs=vifs)))
    _, first, second = wirt("network-list", "--stats", "pv1").out.splitlines()
    assert first.split() == ["0", "a", "vif1.0", *map(str, range(11, 17))]
    assert second.split() == ["1", "b", *["-"] * 7]


def test_domid_and_domname_are_each_others_inverse(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/domains/pv1"] = (200, samples.detail(samples.domain("pv1", 1)))
    wirtd.routes["GET /v1/domains/1"] = (200, samples.detail(samples.domain("pv1", 1)))
    assert wirt("domid", "pv1").out == "1\n"
    assert wirt("domname", "1").out == "pv1\n"


def test_jobs_are_a_table_and_one_job_shows_its_steps(wirtd: Canned, wirt: Run) -> None:
    running = samples.job("running")
    wirtd.routes["GET /v1/jobs"] = (200, {"jobs": [running]})
    wirtd.routes["GET /v1/jobs/j1"] = (200, running)
    row = wirt("jobs").out.splitlines()[1]
    assert row.split() == ["j1", "create", "web", "running", "25%", "22:13:20", "starting", "QEMU"]
    assert "  done       reserve memory\n" in wirt("jobs", "j1").out


def test_help_keys_finds_keys_by_part_or_pattern(wirtd: Canned, wirt: Run) -> None:
    def key(name: str) -> object:
        return {"name": name, "type": "action", "default": "destroy", "help": "What then.", "group": "Events"} | {
            "honoured_by": ["qemu", "xen"]
        }

    wirtd.routes["GET /v1/keys"] = (200, {"keys": [key("on_poweroff"), key("on_crash"), key("memory")]})
    assert wirt("help", "keys", "on_*").out == (
        "Events\n"
        "  on_poweroff = action (default: destroy)\n      What then.\n      honoured by: qemu, xen\n"
        "  on_crash = action (default: destroy)\n      What then.\n      honoured by: qemu, xen\n"
    )
    assert [key["name"] for key in json.loads(wirt("help", "keys", "mem", "-o", "json").out)["keys"]] == ["memory"]
    assert wirt("help", "keys", "nothing").code == 1
