"""``wirt peer``: what it asks wirtd for, and what it prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .canned import Canned
from .conftest import Run

PEER = {
    "name": "b",
    "address": "10.99.0.2:16509",
    "fingerprint": "AB:CD",
    "expires_at": 2_000_000_000.0,
    "certificate": "PEM\n",
    "api": "v1",
}


def test_add_sends_the_certificate_and_says_by_what_the_host_is_known(
    wirtd: Canned, wirt: Run, tmp_path: Path
) -> None:
    (tmp_path / "b.pem").write_text("PEM\n")
    wirtd.routes["POST /v1/peers"] = (200, PEER)
    result = wirt("peer", "add", "b", "10.99.0.2", "--certificate", str(tmp_path / "b.pem"))
    assert (result.code, result.out) == (0, "")
    assert "AB:CD" in result.err
    assert wirtd.requests[-1].body == {"name": "b", "address": "10.99.0.2", "certificate": "PEM\n"}


def test_certificate_prints_it_alone_and_its_fingerprint_beside_it(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/peer-certificate"] = (200, {**PEER, "name": "a"})
    result = wirt("peer", "certificate")
    assert (result.code, result.out, result.err) == (0, "PEM\n", "a: AB:CD\n")


def test_list_shows_each_with_its_address_and_fingerprint(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/peers"] = (200, {"peers": [PEER], "api": "v1"})
    lines = wirt("peer", "list").out.splitlines()
    assert lines[0].split() == ["Name", "Address", "Until", "Fingerprint"]
    assert lines[1].split() == ["b", "10.99.0.2:16509", "2033-05-18", "AB:CD"]
    assert json.loads(wirt("-o", "json", "peer", "list").out)["peers"] == [PEER]


def test_remove_asks_for_it(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["DELETE /v1/peers/b"] = (204, None)
    assert wirt("peer", "remove", "b").code == 0


def test_a_file_that_can_not_be_read_is_told(wirtd: Canned, wirt: Run) -> None:
    result = wirt("peer", "add", "b", "h", "--certificate", "/nowhere")
    assert result.code == 1
    assert "/nowhere can't be read" in result.err


@pytest.mark.parametrize(
    "words",
    [
        ("add",),
        ("add", "b"),
        ("add", "b", "h"),
        ("remove",),
        ("remove", "b", "h"),
        ("list", "b"),
        ("certificate", "b"),
        ("list", "--certificate", "x"),
        ("bless",),
    ],
)
def test_a_wrong_command_line_is_told_without_a_daemon(wirt: Run, words: tuple[str, ...]) -> None:
    assert wirt("peer", *words).code == 2
