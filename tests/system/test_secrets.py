"""A password in a configuration is kept where only its owner can read it, and is shown nowhere."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from wirt.config.xlcfg.secrets import HIDDEN
from wirt.images.tiny import TinyImage

from .guests import silent
from .host import Host

PASSWORD = "hush-8f1c6a"
SECRETS = f'vncpasswd = "{PASSWORD}"\nvfb = ["vnc=1,vncpasswd={PASSWORD}"]\n'


@pytest.mark.real
def test_nobody_is_shown_a_password(real_host: Host, tiny: TinyImage) -> None:
    host = real_host
    config = host.write("web.cfg", silent(tiny, "web", SECRETS))
    said = [host.ok("-o", "json", "create", "-n", config), host.ok("create", "-n", config)]
    said += [host.ok("-o", "json", "define", config), host.ok("-o", "json", "start", "--paused", "web")]
    said += [host.ok("-o", "json", *words) for words in (("list", "-l", "web"), ("list", "--all"), ("jobs",))]
    said.append(host.ok("list", "-l", "web"))
    text = "".join(result.out + result.err for result in said)
    assert HIDDEN in text, "the password's place was shown nowhere, so this test sees nothing"
    assert PASSWORD not in text
    assert not [command for command in host.processes().values() if PASSWORD in command]
    for pid in host.processes():
        assert PASSWORD.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    host.fails("create", "-n", host.write("again.cfg", host.json("list", "-l", "web")[0]["text"]), "name=other")
    host.finish()
    assert PASSWORD not in host.log.read_text(errors="replace")


def test_files_that_hold_a_password_are_their_owners_alone(fake_host: Host) -> None:
    host = fake_host
    host.ok("define", host.write("web.cfg", f'name = "web"\ntype = "hvm"\nmemory = 64\n{SECRETS}'))
    holding = [path for path in Path(host.home.state).rglob("*") if path.is_file() and holds(path)]
    assert holding, "no file holds the password, so this test sees nothing"
    for path in holding:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert stat.S_IMODE(Path(host.home.state).stat().st_mode) == 0o700
    host.ok("undefine", "web")
    host.finish()


def holds(path: Path) -> bool:
    return PASSWORD.encode() in path.read_bytes()
