"""Passwords are stored and never shown."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirt.config.xlcfg import KEYS, load, without_secrets
from wirt.config.xlcfg.document import quote
from wirt.config.xlcfg.secrets import HIDDEN
from wirt.model.errors import ConfigError

BASE = 'name = "web"\ntype = "pvh"\nkernel = "/vmlinuz"  # the usual one\n'
PASSWORDS = st.text(st.characters(codec="ascii", exclude_characters="\0\n"), min_size=4, max_size=20)


def loaded(text: str) -> str:
    return load(text, file="web.cfg", cwd=PurePosixPath("/")).text


@pytest.mark.parametrize("key", [key.name for key in KEYS.values() if key.secret])
@given(password=PASSWORDS)
def test_no_key_that_is_secret_is_shown(key: str, password: str) -> None:
    shown = without_secrets(f"{BASE}{key} = {quote(password)}\n")
    assert shown == f'{BASE}{key} = "{HIDDEN}"\n'


def test_the_passwords_of_vnc_and_spice_are_secret() -> None:
    assert {key.name for key in KEYS.values() if key.secret} == {"vncpasswd", "spicepasswd"}


def test_a_password_inside_a_framebuffers_entry_is_hidden() -> None:
    shown = without_secrets(f'{BASE}vfb = ["vnc=1,vncpasswd=hush,vnclisten=::1", "vncpasswd=hush"]\n')
    assert shown == f'{BASE}vfb = ["vnc=1,vncpasswd={HIDDEN},vnclisten=::1", "vncpasswd={HIDDEN}"]\n'


def test_a_password_that_is_overruled_is_hidden_too() -> None:
    assert "hush" not in without_secrets(f'{BASE}vncpasswd = "hush"\nvncpasswd += "hush"\nvncpasswd = "x"\n')


def test_what_has_no_secret_is_shown_as_it_stands() -> None:
    assert without_secrets(BASE) == BASE
    assert without_secrets(f'{BASE}vncpasswd = ""\n') == f'{BASE}vncpasswd = ""\n'


def test_what_is_stored_keeps_the_password() -> None:
    assert '"hush"' in loaded(f'{BASE}vncpasswd = "hush"\n')


@pytest.mark.parametrize("line", [f'vncpasswd = "{HIDDEN}"', f'vfb = ["vnc=1,vncpasswd={HIDDEN}"]'])
def test_a_hidden_password_can_not_be_loaded_as_one(line: str) -> None:
    with pytest.raises(ConfigError, match="stands for a password") as caught:
        loaded(f"{BASE}{line}\n")
    assert caught.value.line == 4
