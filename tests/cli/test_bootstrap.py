"""``wirt bootstrap``: what is asked of the server, and what is refused before it is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from .canned import Canned
from .conftest import Run

CONFIG = 'name = "web"\n'
PLAN = {
    "name": "web",
    "into": "pool:default/web",
    "size": 4 << 30,
    "commands": [["mmdebstrap", "bookworm"]],
    "partitions": [{"name": "root", "start": 1 << 20, "size": 3 << 30}],
    "files": [{"what": "config", "path": "/home/boot/web/web.cfg"}],
    "config": CONFIG,
    "api": "v1",
}
SHOWN = """\
web: 4096 MiB into pool:default/web
partition root: 3072 MiB
run in the jail: mmdebstrap bookworm
config: /home/boot/web/web.cfg

  name = "web"
"""


def test_a_plan_is_shown_with_the_configuration(wirt: Run, wirtd: Canned) -> None:
    wirtd.routes["POST /v1/bootstrap-plan"] = (200, PLAN)
    shown = wirt("bootstrap", "debian", "--into", "default/web", "-n")
    assert (shown.code, shown.out, shown.err) == (0, SHOWN, "")


def test_words_become_a_request(wirt: Run, wirtd: Canned, tmp_path: Path) -> None:
    key = tmp_path / "id.pub"
    key.write_text("# mine\nssh-ed25519 AAAA ann\n\n")
    wirtd.routes["POST /v1/bootstrap-plan"] = (200, PLAN)
    words = (
        "--size",
        "8G",
        "--packages",
        "nginx,curl",
        "--packages",
        "vim",
        "--ssh-key",
        str(key),
        "--user",
        "ann",
    )
    assert wirt("bootstrap", "debian", "--into", "default/web", "-n", *words).code == 0
    request = wirtd.requests[-1].body
    assert request["size"] == 8 << 30
    assert request["packages"] == ["nginx", "curl", "vim"]
    assert request["ssh_keys"] == ["ssh-ed25519 AAAA ann"]
    assert (request["distribution"], request["into"], request["user"]) == ("debian", "default/web", "ann")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("debian",), "--into"),
        (("gentoo", "--into", "x"), "gentoo"),
        (("debian", "--into", "x", "--size", "big"), "big is no size"),
        (("debian", "--into", "x", "--size", "-1G"), "size"),
        (("debian", "--into", "x", "--ssh-key", "/nowhere/key"), "/nowhere/key can't be read"),
        (("debian", "--into", "x", "--start", "--define"), "not allowed with"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_asks_nobody(
    wirt_process: Run, wirtd: Canned, words: tuple[str, ...], told: str
) -> None:
    done = wirt_process("bootstrap", *words)
    assert done.code == 2
    assert told in done.err
    assert wirtd.requests == []


def test_a_private_key_is_never_sent(wirt_process: Run, wirtd: Canned, tmp_path: Path) -> None:
    key = tmp_path / "id"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n")
    done = wirt_process("bootstrap", "debian", "--into", "x", "--ssh-key", str(key))
    assert done.code == 2
    assert "is a private key" in done.err
    assert "AAAA" not in done.err
    assert wirtd.requests == []
