"""QEMU 10 on Debian 12 comes through the mirror that the machine uses, whichever way its entry is written."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

KEYS_INLINE = """\
# Debian's own
Types: deb deb-src
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://mirror.test/debian-security
Suites: bookworm-security
Components: main
"""


def shell(etc: Path, command: str) -> subprocess.CompletedProcess[str]:
    script = f'apt_etc="{etc}"; . "{ROOT}/tools/setup/backports.sh"; {command}'
    return subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=False)


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    for name in ("sources.list.d", "preferences.d", "found"):
        (tmp_path / name).mkdir()
    return tmp_path


def candidates(etc: Path) -> list[str]:
    result = shell(etc, f'backports_candidates "{etc}/found"')
    assert (result.returncode, result.stderr) == (0, "")
    return [path.read_text() for path in sorted((etc / "found").iterdir())]


def test_a_stanza_keeps_its_address_and_its_keys(etc: Path) -> None:
    (etc / "sources.list.d/debian.sources").write_text(KEYS_INLINE)
    assert candidates(etc) == [
        "Types: deb\nSuites: bookworm-backports\nComponents: main\nURIs: http://mirror.test/debian\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----\n"
    ]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("deb http://m.test/debian bookworm main", ["deb http://m.test/debian bookworm-backports main\n"]),
        (
            "deb [ arch=amd64 signed-by=/k.asc ]  http://m.test/debian bookworm contrib main # ours",
            ["deb [ arch=amd64 signed-by=/k.asc ]  http://m.test/debian bookworm-backports main\n"],
        ),
        ("deb-src http://m.test/debian bookworm main", []),
        ("# deb http://m.test/debian bookworm main", []),
        ("deb cdrom:[Debian 12]/ bookworm main", []),
        ("deb http://m.test/debian bookworm-updates main", []),
        ("deb http://m.test/docker bookworm stable", []),
    ],
)
def test_of_one_line_entries_those_that_serve_bookworm_main_are_taken(
    etc: Path, line: str, found: list[str]
) -> None:
    (etc / "sources.list").write_text(line + "\n")
    assert candidates(etc) == found


def test_a_disabled_stanza_and_our_own_are_passed_over(etc: Path) -> None:
    stanza = "Types: deb\nURIs: http://m.test/debian\nSuites: bookworm\nComponents: main\n"
    (etc / "sources.list.d/off.sources").write_text(stanza + "Enabled: no\n")
    (etc / "sources.list.d/wirt-backports.sources").write_text(stanza)
    assert candidates(etc) == []


def test_the_first_entry_that_has_backports_is_taken_and_the_others_leave_nothing(etc: Path) -> None:
    (etc / "sources.list").write_text(
        "deb http://other.test/x bookworm main\ndeb http://m.test/debian bookworm main\n"
    )
    result = shell(etc, "backports_update() { grep -q m.test/debian $1; }; backports_add_source")
    assert result.returncode == 0, result.stderr
    written = list((etc / "sources.list.d").iterdir())
    assert [path.name for path in written] == ["wirt-backports.list"]
    assert "deb http://m.test/debian bookworm-backports main" in written[0].read_text()


def test_out_of_reach_leaves_apt_as_it_was(etc: Path) -> None:
    (etc / "sources.list.d/debian.sources").write_text(KEYS_INLINE)
    assert shell(etc, "backports_update() { false; }; backports_add_source").returncode == 1
    assert [path.name for path in (etc / "sources.list.d").iterdir()] == ["debian.sources"]


def test_nothing_but_qemu_may_come_from_backports(etc: Path) -> None:
    assert shell(etc, "backports_pin").returncode == 0
    first, rest = (etc / "preferences.d/wirt-backports").read_text().split("\n\n")
    assert "Package: src:qemu seabios\n" in first
    assert rest.endswith("Package: *\nPin: release n=bookworm-backports\nPin-Priority: -1\n")


def test_whoever_has_backports_already_keeps_his_own_rules_for_the_rest(etc: Path) -> None:
    (etc / "sources.list").write_text("deb http://m.test/debian bookworm-backports main\n")
    assert shell(etc, "backports_pin").returncode == 0
    assert "Package: *" not in (etc / "preferences.d/wirt-backports").read_text()
