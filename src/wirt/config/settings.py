"""``wirt.toml``: what the host's administrator chooses for the whole daemon.

One table drives parsing, defaults and ``--help``; every setting can be given by environment as well.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Interface, NetmaskValueError

from wirt.config.addresses import parse_address, parse_ports
from wirt.model.cpu import parse_choice
from wirt.model.cpulists import CPU_TERM, HINT
from wirt.model.errors import BadInput, ConfigError
from wirt.model.peer import Address

MOST_AT_ONCE = 64
MOST_SCANNED, MOST_SLEEP_MS = 1_000_000, 60_000
CHOICES = {
    "hypervisor": ("qemu", "fake"),
    "jail": ("on", "off"),
    "distribution": ("off", "advising", "on"),
    "ballooning": ("off", "advising", "on"),
    "free-page-reporting": ("on", "off"),
    "ksm": ("off", "on"),
    "distribution-reach": ("cache", "cpu"),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """``variable`` overrules the file; ``help`` is one sentence."""

    name: str
    variable: str
    default: str
    help: str


SETTINGS = (
    Setting("host", "WIRT_HOST", "", "the name of this host (default: its host name)"),
    Setting("hypervisor", "WIRT_HYPERVISOR", "qemu", "qemu, or fake: guests in memory, to try things out"),
    Setting("qemu", "WIRT_QEMU", "qemu-system-x86_64", "QEMU's program, by name or path"),
    Setting("jail", "WIRT_JAIL", "on", "on: a jail around each QEMU; off: none, for those who must debug one"),
    Setting("passt", "WIRT_PASST", "passt", "passt's program, by name or path; none: QEMU's user-mode network"),
    Setting("bridge", "WIRT_BRIDGE", "wirtbr0", "the bridge of vifs that name none; made when it is needed"),
    Setting("bridge-address", "WIRT_BRIDGE_ADDRESS", "10.219.0.1/24", "the host's address on that bridge"),
    Setting("cpu-model", "WIRT_CPU_MODEL", "", "the CPU of domains that say no cpu_model, as in x86-64-v2,+aes"),
    Setting("peer-listen", "WIRT_PEER_LISTEN", "", "where other hosts reach this one, as in 10.99.0.1:16509"),
    Setting("migration-ports", "WIRT_MIGRATION_PORTS", "49152-49215", "the ports through which guests come in"),
    Setting("migrations-at-once", "WIRT_MIGRATIONS_AT_ONCE", "2", "so many guests leave side by side, and arrive"),
    Setting(
        "distribution", "WIRT_DISTRIBUTION", "off", "whether vCPUs are moved among CPUs: off, advising, or on"
    ),
    Setting(
        "distribution-reach", "WIRT_DISTRIBUTION_REACH", "cache", "leave each a whole cache's CPUs, or one: cpu"
    ),
    Setting("domain-0-cpus", "WIRT_DOMAIN_0_CPUS", "", "CPUs that no guest gets, as in 0-1 or node:0"),
    Setting("ballooning", "WIRT_BALLOONING", "off", "off, advising, or on: guests get memory as they need it"),
    Setting(
        "free-page-reporting", "WIRT_FREE_PAGE_REPORTING", "on", "whether guests give freed pages back: on, or off"
    ),
    Setting("ksm", "WIRT_KSM", "off", "on: the kernel merges what guests have alike, which others can find out"),
    Setting(
        "ksm-pages", "WIRT_KSM_PAGES", "", "so many pages KSM looks at before it rests (default: the kernel's)"
    ),
    Setting(
        "ksm-sleep-ms", "WIRT_KSM_SLEEP_MS", "", "how long KSM rests, in milliseconds (default: the kernel's)"
    ),
    Setting("ssh", "WIRT_SSH", "ssh", "ssh's program, by name or path, for hosts reached as ssh://USER@HOST"),
    Setting("remote-wirt", "WIRT_REMOTE_WIRT", "wirt", "what runs wirt on a host that is reached through ssh"),
)


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    host: str
    hypervisor: str
    qemu: str
    jail: bool
    passt: str
    bridge: str
    bridge_address: IPv4Interface
    peer_listen: Address | None
    migration_ports: range
    ssh: str
    remote_wirt: str
    cpu_model: str | None = None
    migrations_at_once: int = 2
    distribution: str = "off"
    distribution_reach: str = "cache"
    domain_0_cpus: str = ""
    ballooning: str = "off"
    free_page_reporting: bool = True
    ksm: bool = False
    ksm_pages: int | None = None
    ksm_sleep_ms: int | None = None


def read_settings(text: str, file: str, environment: Mapping[str, str]) -> DaemonSettings:
    """``text`` is TOML. ``ConfigError`` for what is no TOML, no text, or no setting."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"this is no TOML: {error}", file=file) from error
    known = {setting.name for setting in SETTINGS}
    for name, value in values.items():
        if name not in known:
            raise ConfigError("there is no such setting", file=file, key=name, hint=", ".join(sorted(known)))
        if not isinstance(value, str):
            raise ConfigError("a text in quotes was expected", file=file, key=name)
    chosen = {s.name: environment.get(s.variable) or values.get(s.name, s.default) for s in SETTINGS}
    for name, able in CHOICES.items():
        if chosen[name] not in able:
            raise ConfigError(f"it can't be {chosen[name]}", file=file, key=name, hint=" or ".join(able))
    return DaemonSettings(
        host=chosen["host"],
        hypervisor=chosen["hypervisor"],
        qemu=chosen["qemu"],
        jail=chosen["jail"] == "on",
        passt=chosen["passt"],
        bridge=chosen["bridge"],
        bridge_address=_address(chosen["bridge-address"], file),
        peer_listen=_peer_listen(chosen["peer-listen"], file),
        migration_ports=_ports(chosen["migration-ports"], file),
        ssh=chosen["ssh"],
        remote_wirt=chosen["remote-wirt"],
        cpu_model=_cpu_model(chosen["cpu-model"], file),
        distribution=chosen["distribution"],
        distribution_reach=chosen["distribution-reach"],
        domain_0_cpus=_cpus(chosen["domain-0-cpus"], "domain-0-cpus", file),
        migrations_at_once=_number(chosen["migrations-at-once"], "migrations-at-once", file),
        ballooning=chosen["ballooning"],
        free_page_reporting=chosen["free-page-reporting"] == "on",
        ksm=chosen["ksm"] == "on",
        ksm_pages=_if_said(chosen["ksm-pages"], "ksm-pages", file, MOST_SCANNED),
        ksm_sleep_ms=_if_said(chosen["ksm-sleep-ms"], "ksm-sleep-ms", file, MOST_SLEEP_MS),
    )


def _cpus(text: str, key: str, file: str) -> str:
    """Only its form is looked at: which CPUs there are the daemon knows."""
    bad = [term for term in text.split(",") if text and not CPU_TERM.fullmatch(term.strip())]
    if bad:
        raise ConfigError(f"{bad[0][:40]!r} names no CPUs", file=file, key=key, hint=HINT)
    return text


def _number(text: str, key: str, file: str, most: int = MOST_AT_ONCE) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= most:
        raise ConfigError(f"{text[:40]} is none", file=file, key=key, hint=f"a number from 1 to {most}")
    return int(text)


def _if_said(text: str, key: str, file: str, most: int) -> int | None:
    return _number(text, key, file, most) if text else None


def _cpu_model(text: str, file: str) -> str | None:
    try:
        return str(parse_choice(text)) if text else None
    except BadInput as error:
        raise ConfigError(error.message, file=file, key="cpu-model", hint=error.hint) from error


def _peer_listen(text: str, file: str) -> Address | None:
    try:
        return parse_address(text) if text else None
    except BadInput as error:
        raise ConfigError(error.message, file=file, key="peer-listen", hint=error.hint) from error


def _ports(text: str, file: str) -> range:
    try:
        return parse_ports(text)
    except BadInput as error:
        raise ConfigError(error.message, file=file, key="migration-ports", hint=error.hint) from error


def _address(text: str, file: str) -> IPv4Interface:
    try:
        return IPv4Interface(text)
    except (AddressValueError, NetmaskValueError) as error:
        raise ConfigError(
            f"{text} is no address with a prefix", file=file, key="bridge-address", hint="as in 10.219.0.1/24"
        ) from error
