"""wirt.toml: what is said wrong is told; the environment overrules."""

from __future__ import annotations

from ipaddress import IPv4Interface

import pytest

from wirt.config.settings import read_settings
from wirt.model.errors import ConfigError


def test_without_a_file_the_defaults_hold() -> None:
    settings = read_settings("", "", {})
    assert (settings.hypervisor, settings.bridge) == ("qemu", "wirtbr0")
    assert settings.bridge_address == IPv4Interface("10.219.0.1/24")


def test_the_environment_overrules_the_file() -> None:
    settings = read_settings('bridge = "br0"\nqemu = "/opt/q"', "wirt.toml", {"WIRT_BRIDGE": "br1"})
    assert (settings.bridge, settings.qemu) == ("br1", "/opt/q")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bridge = ", "no TOML"),
        ('bridg = "x"', "bridge"),
        ("bridge = 1", "quotes"),
        ('hypervisor = "vmware"', "vmware"),
        ('distribution = "maybe"', "off or advising or on"),
        ('domain-0-cpus = "first"', "names no CPUs"),
        ('bridge-address = "home"', "10.219.0.1/24"),
    ],
)
def test_a_wrong_setting_is_told_with_its_file_and_what_would_be_right(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        read_settings(text, "wirt.toml", {})
    assert "wirt.toml" in str(caught.value)
