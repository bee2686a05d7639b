"""What a bootstrap install lays down, as a plan."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirt.model.errors import BadInput
from wirt.model.units import GIB, MIB
from wirt.plan import bootstrap_files, bootstrap_tools
from wirt.plan.bootstrap import SECTOR, SMALLEST, TAIL_SECTORS, BootstrapPlan, BootstrapWish, plan_bootstrap
from wirt.plan.bootstrap_tools import KEY, ROOT, Source

IDENTITY = UUID("8d0e2a52-77f2-4d4f-93a5-6a1d28fb6d11")
HOST = (
    Source("http://ann:secret@mirror.example/debian", "bookworm", ("main", "contrib")),
    Source("http://mirror.example/debian", "bookworm-updates", ("main",)),
    Source("http://mirror.example/debian-security", "bookworm-security", ("main",)),
    Source("https://other.example/repo", "stable", ("main",)),
)
DEBIAN = BootstrapWish("debian", "web")
KEY_LINE = "ssh-ed25519 AAAAC3Nz ann@example"


def plan(wish: BootstrapWish = DEBIAN, sources: tuple[Source, ...] = HOST, **changes: object) -> BootstrapPlan:
    return plan_bootstrap(replace(wish, **changes), sources, IDENTITY)  # type: ignore[arg-type]


def file(made: BootstrapPlan, path: str) -> str:
    return next(each.text for each in made.late if each.path == path)


def test_the_hosts_own_mirror_serves_with_its_updates_and_no_foreign_one() -> None:
    (name, text), *_ = plan().helpers
    assert name == "sources.list"
    assert [line.split()[2] for line in text.splitlines()] == ["bookworm", "bookworm-updates", "bookworm-security"]


def test_what_the_mirror_is_reached_with_stays_on_the_host() -> None:
    made = plan()
    assert "ann:secret@" in dict(made.helpers)["sources.list"]
    assert all("secret" not in each.text for each in made.late)
    assert all("secret" not in word for command in made.commands for word in command)
    assert "http://mirror.example/debian bookworm" in file(made, "etc/apt/sources.list")


def test_another_release_comes_from_the_same_mirror() -> None:
    text = dict(plan(release="trixie").helpers)["sources.list"]
    assert text == "deb http://ann:secret@mirror.example/debian trixie main\n"


def test_a_mirror_that_is_named_is_the_only_one() -> None:
    made = plan(mirror="http://192.0.2.1/debian")
    assert dict(made.helpers)["sources.list"] == "deb http://192.0.2.1/debian bookworm main\n"


def test_without_any_mirror_of_debian_one_has_to_be_named() -> None:
    with pytest.raises(BadInput, match="no mirror of Debian") as refused:
        plan(sources=HOST[3:])
    assert "--mirror URL" in str(refused.value)


@pytest.mark.parametrize(("kind", "kernel"), [("pvh", "linux-image-cloud-amd64"), ("hvm", "linux-image-amd64")])
def test_the_kernel_follows_the_guest_type_unless_one_is_named(kind: str, kernel: str) -> None:
    def packages(made: BootstrapPlan) -> list[str]:
        return next(word for word in made.commands[0] if word.startswith("--include=")).split("=")[1].split(",")

    assert kernel in packages(plan(type=kind))
    assert "linux-image-rt-amd64" in packages(plan(type=kind, kernel="linux-image-rt-amd64"))
    assert kernel not in packages(plan(type=kind, kernel="linux-image-rt-amd64"))


def test_a_direct_guest_has_one_file_system_and_one_with_firmware_partitions() -> None:
    assert plan(type="pvh").slices == ()
    hvm = plan(type="hvm")
    assert [each.what for each in hvm.slices] == ["grub", "efi", "root"]
    assert "linux /vmlinuz root=UUID=" in file(hvm, "boot/grub/grub.cfg")
    assert str(hvm.root_uuid) in bootstrap_files.grub_start(hvm.root_uuid)


@given(st.integers(SMALLEST // MIB, 64 * 1024 * 1024))
def test_partitions_never_overlap_and_leave_room_for_the_second_table(mib: int) -> None:
    made = plan(type="hvm", size=mib * MIB)
    ends = 34
    for each in made.slices:
        assert each.first_lba >= ends
        ends = each.first_lba + each.sectors
    assert ends <= mib * MIB // SECTOR - 33
    assert TAIL_SECTORS >= 33


def test_two_installs_share_no_identity() -> None:
    other = plan_bootstrap(DEBIAN, HOST, UUID(int=IDENTITY.int + 1))
    assert other.root_uuid != plan().root_uuid
    assert other.disk_id != plan().disk_id
    assert file(plan(), "etc/machine-id") == "", "systemd makes one at the first boot"
    assert "etc/ssh/ssh_host_*" in plan().removed


def test_the_fstab_and_the_kernel_are_told_the_same_file_system() -> None:
    made = plan()
    assert f"UUID={made.root_uuid} / ext4" in file(made, "etc/fstab")
    assert f"root=UUID={made.root_uuid} " in made.kernel_words
    assert "console=hvc0" in plan(console="hvc0").kernel_words


def test_a_user_gets_sudo_and_the_key_and_root_gets_it_only_without_one() -> None:
    ann = plan(user="ann", ssh_keys=(KEY_LINE,))
    assert any("useradd" in command and "ann" in command for command in ann.inside)
    assert any(KEY_LINE in command for command in ann.inside)
    assert not any(each.path.startswith("root/") for each in ann.late)
    assert file(plan(ssh_keys=(KEY_LINE,)), "root/.ssh/authorized_keys") == f"{KEY_LINE}\n"


def test_networks_are_systemd_networkds() -> None:
    def network(**changes: object) -> list[str]:
        return file(plan(**changes), "etc/systemd/network/80-wired.network").splitlines()  # type: ignore[arg-type]

    assert "DHCP=yes" in network()
    static = network(network="static", address="192.0.2.9/24", gateway="192.0.2.1", dns=("192.0.2.53",))
    assert {"Address=192.0.2.9/24", "Gateway=192.0.2.1", "DNS=192.0.2.53"} <= set(static)
    assert "LinkLocalAddressing=no" in network(network="none")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"distribution": "gentoo"}, "'gentoo' is no distribution"),
        ({"type": "pv"}, "'pv' is no guest type"),
        ({"name": "-x"}, "host's name"),
        ({"name": "a\nb"}, "host's name"),
        ({"size": GIB - MIB}, "GiB"),
        ({"size": GIB + 1}, "GiB"),
        ({"release": "../x"}, "no release"),
        ({"mirror": "http://x/ [trusted=yes]"}, "no mirror"),
        ({"mirror": "copy:/x"}, "no mirror"),
        ({"packages": ("a", "--setup-hook=x")}, "no package"),
        ({"packages": ("a,b",)}, "no package"),
        ({"kernel": "a b"}, "no kernel"),
        ({"user": "ann;x"}, "no user"),
        ({"user": "root"}, "root is there"),
        ({"ssh_keys": ("not a key",)}, "no ssh key"),
        ({"ssh_keys": (f"{KEY_LINE}\nssh-rsa AAAA",)}, "no ssh key"),
        ({"console": "ttyUSB0"}, "no console"),
        ({"network": "static"}, "which address"),
        ({"network": "static", "address": "192.0.2.9"}, "prefix length"),
        ({"network": "static", "address": "192.0.2.9/24", "gateway": "x"}, "gateway"),
        ({"address": "192.0.2.9/24"}, "not static"),
    ],
)
def test_what_can_not_be_is_refused_with_what_was_expected(changes: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words) as refused:
        plan(**changes)  # type: ignore[arg-type]
    assert refused.value.hint


# Fedora and SUSE


def test_dnf_installs_into_the_root_from_the_named_mirror_checked_by_the_key() -> None:
    (command,) = plan(BootstrapWish("fedora", "f", release="41", mirror="http://192.0.2.1/f", key="/k")).commands
    assert command[0] == "dnf"
    assert {f"--installroot={ROOT}", "--releasever=41", "--repofrompath=wirt-bootstrap,http://192.0.2.1/f"} <= set(
        command
    )
    assert f"--setopt=wirt-bootstrap.gpgkey=file://{KEY}" in command
    assert "--setopt=wirt-bootstrap.gpgcheck=1" in command
    assert "--nogpgcheck" not in command
    assert "kernel-core" in command


def test_zypper_adds_the_named_mirror_then_installs_into_the_root() -> None:
    commands = plan(BootstrapWish("opensuse", "s", mirror="http://192.0.2.1/s", key="/k")).commands
    assert [command[0] for command in commands] == ["rpm", "zypper", "zypper", "zypper"]
    assert commands[0][-2:] == ("--import", KEY)
    for command in commands[1:]:
        assert command[1:4] == ("--non-interactive", "--root", ROOT)
    assert "--gpgcheck-strict" in commands[1]
    assert "kernel-default-base" in commands[3]


def test_without_a_mirror_the_hosts_own_repositories_serve() -> None:
    (dnf,) = plan(BootstrapWish("fedora", "f", release="41")).commands
    assert not any("repofrompath" in word for word in dnf)
    refresh, _ = plan(BootstrapWish("opensuse", "s")).commands
    assert "/etc/zypp/repos.d" in refresh


@pytest.mark.parametrize("distribution", ["fedora", "opensuse"])
def test_packages_of_a_named_mirror_are_checked_unless_told_otherwise(distribution: str) -> None:
    wish = BootstrapWish(distribution, "f", release="41", mirror="http://192.0.2.1/f")
    with pytest.raises(BadInput, match="checked against a key"):
        plan(wish)
    assert any(
        "no-gpgcheck" in word or "nogpgcheck" in word for c in plan(wish, unsigned=True).commands for word in c
    )


def test_fedora_needs_its_release() -> None:
    with pytest.raises(BadInput, match="which release"):
        plan(BootstrapWish("fedora", "f"))


@pytest.mark.parametrize(
    ("uri", "public"),
    [("http://a:b@c/d", "http://c/d"), ("http://c/d", "http://c/d"), ("https://a:p@q@c", "https://c")],
)
def test_names_and_passwords_leave_a_uri(uri: str, public: str) -> None:
    assert bootstrap_tools.without_login(uri) == public
