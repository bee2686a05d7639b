"""Tables and documents: the same measurement always gives the same text, and no text names the machine."""

from __future__ import annotations

import json
from pathlib import Path

from bench.measure import Measurement
from bench.results import anonymous, write
from bench.rigs.workshop import ROOT
from bench.tables import number, overview, report, table
from bench.verdict import judge
from tests.bench.samples import figure, promise

FIGURE = figure(lambda log: 0.0, lambda log: 0.0)
MEASURED = Measurement(({"ours": 3.0, "peer": 2.0}, {"ours": 5.0, "peer": 2.0}), {}, (), 1.5)


def test_a_table_is_aligned_markdown() -> None:
    assert table(("name", "ms"), [("a|b", "1"), ("c", "1000")], right=frozenset({1})) == (
        "| name |   ms |\n| ---- | ---: |\n| a\\|b |    1 |\n| c    | 1000 |"
    )


def test_numbers_have_three_digits_that_count() -> None:
    assert [number(n) for n in (0.0, 1.234, 12.34, 123.4, 12345.6, -1.234)] == [
        "0.00",
        "1.23",
        "12.3",
        "123",
        "12346",
        "-1.23",
    ]


def test_a_report_has_contenders_ratios_and_verdicts() -> None:
    text = report(FIGURE, MEASURED)
    assert "| ours      |    2 |       4.00 | 3.00 | 5.00 | 2.00 x peer | what we do   |" in text
    assert (
        "| ours is quick | at most 2 times | 2.00 times | median of ours / peer, run by run; 2 runs | kept    |"
        in text
    )
    assert "Faults" not in text


def test_a_report_says_why_something_is_missing() -> None:
    measured = Measurement(({"ours": 3.0},), {"peer": "not installed:\n  apt-get"}, ("ours, run 2: broken",), 1.5)
    text = report(FIGURE, measured)
    assert "not measurable here: not installed: apt-get" in text
    assert "not measurable here: peer: not installed: apt-get" in text
    assert "- ours, run 2: broken" in text


def test_the_overview_has_a_line_for_each_promise() -> None:
    text = overview({"sample": [judge(promise(), MEASURED.rounds, {})]})
    assert text.splitlines()[2] == "| sample | ours is quick | at most 2 times | 2.00 times | kept    |"


def test_results_are_named_for_the_figure_and_hold_every_run(tmp_path: Path) -> None:
    write(tmp_path, FIGURE, MEASURED, {"cpus": 2}, {"wirt": "1"}, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sample.json", "sample.md"]
    document = json.loads((tmp_path / "sample.json").read_text())
    assert document["rounds"] == [{"ours": 3.0, "peer": 2.0}, {"ours": 5.0, "peer": 2.0}]
    assert document["promises"][0]["verdict"] == "kept"
    assert document["promises"][0]["measured"] == 2.0
    assert document["contenders"]["ours"] == {"runs": 2, "median": 4.0, "minimum": 3.0, "maximum": 5.0}
    assert (document["machine"], document["versions"]) == ({"cpus": 2}, {"wirt": "1"})
    assert "`python -m bench sample`" in (tmp_path / "sample.md").read_text()


def test_results_name_no_place_of_this_machine(tmp_path: Path) -> None:
    fault = f"ours, run 1: {tmp_path}/ours/home-1/wirtd.sock, {ROOT}/.cache/tiny"
    measured = Measurement(({},), {}, (fault,), 1.0)
    write(tmp_path, FIGURE, measured, {}, {}, [tmp_path / "ours"])
    for path in tmp_path.iterdir():
        text = path.read_text()
        assert "ours, run 1: WORKSHOP/home-1/wirtd.sock, ./.cache/tiny" in text
        assert str(ROOT) not in text


def test_the_longest_place_is_replaced_first() -> None:
    assert anonymous("/a/b/c /a/x", [Path("/a"), Path("/a/b")]) == "WORKSHOP/c WORKSHOP/x"
