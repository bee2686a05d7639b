"""``wirt stats`` and ``wirt top``: tables that scripts read, and keys that people press."""

from __future__ import annotations

import curses
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from wirt.cli import top, top_screen
from wirt.cli.top_table import BLOCKS, PLAIN, View, body, picture, summary
from wirt.client.decode import decode
from wirt.wire.v1_stats import StatsList

from . import samples
from .canned import Canned, problem
from .conftest import Result, Run

Json = dict[str, Any]
PATIENCE_S = 60.0
HEADER = "Name ID CPU(%) Steal(%) Emul(%) CPU(s) Steal(s) Mem(M) Res(M) NetRX(k/s) NetTX(k/s) Reads(/s) Writes(/s)"
XENTOP = (
    "      NAME  STATE   CPU(sec) CPU(%)     MEM(k) MEM(%)  MAXMEM(k) MAXMEM(%) VCPUS NETS NETTX(k) NETRX(k) VBDS"
    "   VBD_OO   VBD_RD   VBD_WR  VBD_RSECT  VBD_WSECT SSID"
)
WEB = (
    "       web --b---         23   51.5     131072    3.1     262144       6.2     1    1        4        1    1"
    "        0       10       20          8          2    0"
)


def domain(name: str, domid: int | None, cpu: float | None, **fields: Any) -> Json:
    return {
        "name": name,
        "uuid": samples.UUID,
        "domid": domid,
        "state": "running",
        "flags": "-b----",
        "vcpus_count": 1,
        "cpu_time_s": 23.14,
        "memory_bytes": 128 << 20,
        "max_memory_bytes": 256 << 20,
        "cpu_percent": cpu,
        **fields,
    }


def web(name: str = "web", **fields: Any) -> Json:
    return domain(
        name,
        1,
        51.46,
        steal_percent=2.5,
        steal_s=1.0,
        emulator_percent=3.0,
        resident_bytes=90 << 20,
        vcpus=[
            {
                "index": 0,
                "cpu": 1,
                "cpu_time_s": 20.5,
                "steal_s": 1.0,
                "cpu_percent": 48.5,
                "steal_percent": 2.5,
            }
        ],
        nets=[
            {
                "index": 0,
                "rx_bytes": 1500,
                "rx_packets": 15,
                "rx_dropped": 1,
                "tx_bytes": 5000,
                "tx_packets": 50,
                "tx_dropped": 0,
                "rx_bytes_per_s": 512.0,
                "tx_bytes_per_s": 2048.0,
            }
        ],
        disks=[
            {
                "vdev": "xvda",
                "reads": 10,
                "writes": 20,
                "flushes": 3,
                "read_bytes": 4096,
                "written_bytes": 1024,
                "busy_s": 0.5,
                "reads_per_s": 1.5,
                "writes_per_s": 2.0,
            }
        ],
        history={
            "age_s": [2.0, 1.0, 0.0],
            "cpu_percent": [0.0, 50.0, 100.0],
            "steal_percent": [0.0, 0.0, None],
            "net_bytes_per_s": [0.0, 1024.0, 2048.0],
            "disk_bytes_per_s": [None, None, 0.0],
        },
        **fields,
    )


def stats(*domains: Json) -> Json:
    host = {"name": "here", "cpus": 2, "memory_bytes": 4 << 30, "available_bytes": 1 << 30, "cpu_percent": 60.0}
    return {"domains": list(domains), "host": host, "time": 1000.0, "every_s": 1.0, "api": "v1"}


def listed(*domains: Json) -> StatsList:
    return decode(StatsList, stats(*domains))


def texts(found: StatsList, view: View) -> list[str]:
    return [line.text for line in body(found, view)]


def test_stats_prints_a_row_for_each_domain_and_a_dash_for_what_is_not_known(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/stats?over_s=1"] = (200, stats(domain("Domain-0", 0, None), web()))
    shown = wirt("stats")
    assert shown.code == 0
    assert [line.split() for line in shown.out.splitlines()] == [
        HEADER.split(),
        ["Domain-0", "0", "-", "-", "-", "23.1", "-", "128", "-", "-", "-", "-", "-"],
        ["web", "1", "51.5", "2.5", "3.0", "23.1", "1.0", "128", "90", "0.5", "2.0", "1.5", "2.0"],
    ]


def test_stats_of_some_domains_in_json_is_one_document(wirtd: Canned, wirt: Run) -> None:
    for name in ("web", "db"):
        wirtd.routes[f"GET /v1/stats?domain={name}&over_s=30"] = (200, stats(web(name=name)))
    document = json.loads(wirt("-o", "json", "stats", "--over", "30", "web", "db").out)
    assert [each["name"] for each in document["domains"]] == ["web", "db"] and document["api"] == "v1"


def test_stats_of_vcpus_and_what_can_not_be_asked_for(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/stats?over_s=1"] = (200, stats(web()))
    assert wirt("stats", "--vcpus").out.splitlines()[1].split() == [
        "web",
        "1",
        "0",
        "1",
        "48.5",
        "2.5",
        "20.5",
        "1.0",
    ]
    assert (wirt("stats", "--over", "61").code, wirt("stats", "--over", "0").code) == (2, 2)
    wirtd.routes["GET /v1/stats?domain=no&over_s=1"] = problem(404, "there is no domain no")
    assert wirt("stats", "no").code == 1


def test_top_prints_what_xentop_prints_where_there_is_no_terminal(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/stats?over_s=3"] = (200, stats(web()))
    shown = wirt("top", "-i", "1")
    assert (shown.code, shown.out.splitlines()) == (0, [XENTOP, WEB])


def test_top_repeats_itself_as_often_as_it_is_told_and_in_json_a_line_each_time(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/stats"] = (200, stats(web()))
    assert wirt("top", "-b", "-i", "2", "-d", "0.01").out.splitlines() == [XENTOP, WEB] * 2
    lines = wirt("-o", "json", "top", "-i", "2", "-d", "0.01").out.splitlines()
    assert [json.loads(line)["api"] for line in lines] == ["v1", "v1"]
    assert wirt("top", "-i", "0").code == 2 and wirt("top", "-d", "0").code == 2


def test_top_shows_vcpus_networks_and_disks(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/stats"] = (200, stats(web(), domain("db", 2, None)))
    shown = wirt("top", "-b", "-i", "1", "-v", "-n", "-x", "-r").out.splitlines()
    assert shown[0] == shown[2] == XENTOP and shown[3] == WEB and len(shown) == 8
    assert shown[4:] == [
        "VCPUs(sec):   0:         20s",
        "VCPU  0: CPU   1  48.5% used   2.5% steal",
        "Net0 RX:     1500bytes       15pkts        0err        1drop  "
        "TX:     5000bytes       50pkts        0err        0drop",
        "VBD     xvda OO:        0   RD:       10   WR:       20   RSECT:          8   WSECT:          2",
    ]


def test_names_that_would_steer_the_terminal_do_not() -> None:
    view = View()
    view.full_name = True
    assert "\x1b" not in "".join(texts(listed(domain("a\x1b[2J", 1, 0)), view))


def test_long_names_are_cut_unless_all_is_wanted_and_numbers_never() -> None:
    found = listed(domain("a-very-long-name", 1, 123456.7, cpu_time_s=12345678901.0))
    row = texts(found, View())[1]
    assert row.startswith("a-very-lon ") and "123456.7" in row and "12345678901" in row
    view = View()
    view.full_name = True
    assert "a-very-long-name" in texts(found, view)[1]


def test_sorting_goes_round_all_columns_names_upwards_and_numbers_downwards() -> None:
    found = listed(domain("Domain-0", 0, 5.0), domain("b", 1, 50.0), domain("A", 2, 7.0, cpu_time_s=99.0))
    view, orders = View(), []
    for _ in range(4):
        orders.append([each.name for each in view.ordered(found)])
        assert top_screen.press(view, ord("s"))
    assert orders[0] == ["A", "b", "Domain-0"] and orders[2][0] == "A" and orders[3] == ["b", "A", "Domain-0"]
    for _ in range(15):
        top_screen.press(view, ord("S"))
    assert view.sort == 0
    view.zero_first = True
    assert view.ordered(found)[0].name == "Domain-0"


def test_keys_switch_parts_on_and_off_and_scroll() -> None:
    view = View()
    for letter in "nNxvbVr":
        assert top_screen.press(view, ord(letter))
    assert (view.networks, view.vbds, view.vcpus, view.repeat_header) == (False, False, False, True)
    for key in (curses.KEY_DOWN, curses.KEY_DOWN, curses.KEY_UP, curses.KEY_RESIZE, 0x1F600):
        assert top_screen.press(view, key)
    assert view.first == 1 and texts(listed(domain("a", 1, 0), domain("b", 2, 0)), view)[1].strip().startswith("b")
    view.first = 99
    assert len(texts(listed(domain("a", 1, 0)), view)) == 2 and view.first == 0
    assert texts(listed(), view) == []
    for key in (ord("q"), ord("Q"), 27):
        assert not top_screen.press(view, key)


@pytest.mark.parametrize(
    ("typed", "delay_s"),
    [("1.5\r", 1.5), ("\r", 3.0), ("0\n", 3.0), ("q7\x7f2\r", 2.0), ("9\x1b", 3.0), ("..\r", 3.0)],
)
def test_a_delay_is_typed_in_and_nonsense_changes_nothing(typed: str, delay_s: float) -> None:
    view = View()
    for letter in "d" + typed:
        assert top_screen.press(view, ord(letter))
    assert (view.delay_s, view.prompt) == (delay_s, None)


def test_pictures_show_the_newest_at_the_right_and_blanks_where_nothing_is_known() -> None:
    values = [0.0] * 30 + [50.0] * 27 + [100.0] * 3
    assert picture(values, 100.0, BLOCKS) == "▁" * 10 + "▅" * 9 + "█"
    assert picture([100.0], 100.0, PLAIN) == "#".rjust(20) and picture([None], 1.0, PLAIN).strip() == ""
    assert picture([], 1.0, BLOCKS).strip() == "" and picture([400.0], 100.0, BLOCKS)[-1] == "█"
    view = View(pictures=BLOCKS)
    view.networks = view.vbds = True
    shown = texts(listed(web(), domain("db", 2, 1.0)), view)
    assert "LAST MINUTE" in shown[0] and "▅" in next(line for line in shown if "web" in line)
    assert any(line.startswith("Net ") and "2.0 kB/s" in line for line in shown)


def test_the_lines_above_count_domains_and_the_hosts_memory() -> None:
    head = summary(listed(domain("Domain-0", 0, 1.0, flags="r-----"), web()), "12:00:00")
    assert head[0] == "wirt top - 12:00:00   here"
    assert head[1].startswith("2 domains: 1 running, 1 blocked, 0 paused")
    assert head[2] == "Mem: 4194304k total, 3145728k used, 1048576k free    CPUs: 2, 60.0% of 200% busy"


def on_a_terminal(words: list[str], keys: bytes, *, until: bytes = b"", term: str = "xterm") -> Result:
    """What is on the screen once it ends. ``keys`` are pressed when ``until`` is there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 200, 0, 0))
    command = [sys.executable, "-m", "wirt.cli.main", *words]
    environment = {**os.environ, "TERM": term, "LC_ALL": "C"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while chunk := _read(ours):
            shown += chunk
            if keys and until in shown:
                os.write(ours, keys)
                keys = b""
        return Result(process.wait(PATIENCE_S), shown.decode(errors="replace"), "")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read(terminal: int) -> bytes:
    """Empty once nobody has the other end any more."""
    assert select.select([terminal], [], [], PATIENCE_S)[0], "nothing was drawn for too long"
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def test_on_a_terminal_it_draws_and_takes_keys(wirtd: Canned, home: Path) -> None:
    wirtd.routes["GET /v1/stats"] = (200, stats(web()))
    shown = on_a_terminal(["top", "-d", "0.1"], b"q", until=b"VBD_RD")
    assert shown.code == 0 and "uit" in shown.out and "51.5" in shown.out
    shown = on_a_terminal(["top", "-d", "0.1", "-i", "2"], b"", until=b"VBD_RD")
    assert shown.code == 0


def test_a_terminal_that_nobody_knows_is_told_so(wirtd: Canned, home: Path) -> None:
    wirtd.routes["GET /v1/stats"] = (200, stats(web()))
    shown = on_a_terminal(["top", "-i", "1"], b"", term="no-such-terminal")
    assert shown.code == 1 and "wirt top -b prints" in shown.out and "Traceback" not in shown.out


def test_unicode_is_drawn_where_the_locale_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(name, raising=False)
    assert not top._unicode()
    monkeypatch.setenv("LANG", "C.UTF-8")
    assert top._unicode()
    monkeypatch.setenv("LC_ALL", "C")
    assert not top._unicode()
