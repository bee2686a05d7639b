"""One dnsmasq (dnsmasq(8)) for each network that needs one.

It is started as root, since DHCP's and DNS's ports are low ones, and gives that up at once: it goes on as a
user that owns nothing, with the three network capabilities that it needs and no way to others. It sees its own
directory at :data:`~wirt.plan.networks_services.PLACE` in a mount namespace, for a home is closed to that user.
It outlives the daemon, and is known again by process ID and start time.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from wirt.model.errors import Unavailable
from wirt.model.network import Lease
from wirt.plan.networks_services import MOST_LEASES, PLACE
from wirt.plan.networks_state import ServerState

PROGRAM = "dnsmasq"
_READY_WITHIN_S, _END_WITHIN_S, _TICK_S = 10.0, 1.0, 0.01
_MARK = "SERVER_OF_WIRT_NETWORK"
_CAPABILITIES = "-all,+net_admin,+net_raw,+net_bind_service,+setuid,+setgid"
_USERS = ("dnsmasq", "nobody")
# 1 MiB for each file: a guest's senseless requests are logged, and shall not fill the disk. With the signal
# ignored, what is too much is lost and dnsmasq goes on.
_START = 'mount --bind "$1" "$2" && shift 2 && ulimit -f 2048 && trap "" XFSZ && exec "$@"'


@dataclass(frozen=True, slots=True)
class _Record:
    pid: int
    ticks: int
    device: int
    config: str
    hosts: str


class Servers:
    """``directory`` holds one for each network. Errors: ``Unavailable`` with dnsmasq's own last words."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def states(self) -> dict[str, ServerState]:
        found = {}
        for record_file in sorted(self._directory.glob("*/server.json")):
            network = record_file.parent.name
            record = _read(record_file)
            if record is None:
                found[network] = ServerState(network, "", "", 0, None)
            else:
                pid = record.pid if self._lives(record.pid, record.ticks) else None
                found[network] = ServerState(network, record.config, record.hosts, record.device, pid)
        return found

    async def start(self, network: str, device: int, config: str, hosts: str) -> None:
        place = self._directory / network
        await self._end(network)
        user = _user()
        place.mkdir(mode=0o750, parents=True, exist_ok=True)
        os.chown(place, 0, user.pw_gid)
        _write(place / "dnsmasq.conf", config, user.pw_gid)
        self._tell(network, hosts, user)
        log = place / "log"
        with log.open("wb") as output:
            child = self._spawn(place, user, output.fileno())
        self._children[child.pid] = child
        # Before it is ready: should the daemon end now, the next one knows it.
        record = _Record(child.pid, _start_ticks(child.pid) or 0, device, config, hosts)
        _write(place / "server.json", json.dumps(_as_json(record)), 0)
        await self._until_ready(network, child, log)

    async def reload(self, network: str, hosts: str) -> None:
        """The new names count at once; what a guest has been given stays its own until it asks again."""
        place = self._directory / network
        record = _read(place / "server.json")
        if record is None or not self._lives(record.pid, record.ticks):
            raise Unavailable(f"the dnsmasq of network {network} is gone", hint="wirt starts it again by itself")
        self._tell(network, hosts, _user())
        os.kill(record.pid, signal.SIGHUP)
        told = _Record(record.pid, record.ticks, record.device, record.config, hosts)
        _write(place / "server.json", json.dumps(_as_json(told)), 0)

    async def stop(self, network: str) -> None:
        await self._end(network)
        with suppress(FileNotFoundError):
            shutil.rmtree(self._directory / network)

    def leases(self, network: str) -> tuple[Lease, ...]:
        try:
            text = (self._directory / network / "leases").read_text(errors="replace")
        except OSError:
            return ()
        return tuple(parse_leases(text))

    def _spawn(self, place: Path, user: pwd.struct_passwd, output: int) -> subprocess.Popen[bytes]:
        command = [
            *("unshare", "--mount", "--propagation", "slave", "sh", "-c", _START, PROGRAM, str(place), PLACE),
            *("setpriv", "--no-new-privs", "--inh-caps=-all", f"--bounding-set={_CAPABILITIES}"),
            *(PROGRAM, "--keep-in-foreground", f"--conf-file={PLACE}/dnsmasq.conf"),
            *(f"--user={user.pw_name}", f"--group={_group(user)}"),
        ]
        surroundings = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", _MARK: str(place)}
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=surroundings,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(f"dnsmasq can't be started: {error}", hint="apt-get install util-linux") from error

    async def _until_ready(self, network: str, child: subprocess.Popen[bytes], log: Path) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + _READY_WITHIN_S
        while "started, version" not in (text := log.read_text(errors="replace")):
            if child.poll() is not None or loop.time() > end:
                words = text.strip().rpartition("\n")[2] or "no reason given"
                await self._end(network)
                raise Unavailable(f"the dnsmasq of network {network} does not start: {words}", hint=_hint(words))
            await asyncio.sleep(_TICK_S)

    def _tell(self, network: str, hosts: str, user: pwd.struct_passwd) -> None:
        cards, _, names = hosts.partition("\n\n") if "\n\n" in hosts else hosts.partition("\n")
        _write(self._directory / network / "hosts", f"{cards}\n", user.pw_gid)
        _write(self._directory / network / "names", names, user.pw_gid)

    async def _end(self, network: str) -> None:
        """Whichever serve this network: the one that is recorded, and one whose record a crash has lost."""
        place = self._directory / network
        record = _read(place / "server.json")
        pids = set(_strays(place))
        if record is not None and self._lives(record.pid, record.ticks):
            pids.add(record.pid)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            pids = await self._gone(pids)
        with suppress(FileNotFoundError):
            (place / "server.json").unlink()

    async def _gone(self, pids: set[int]) -> set[int]:
        """Those that are still there after a while."""
        for _ in range(int(_END_WITHIN_S / _TICK_S)):
            pids = {pid for pid in pids if self._alive(pid)}
            if not pids:
                break
            await asyncio.sleep(_TICK_S)
        return pids

    def _lives(self, pid: int, ticks: int) -> bool:
        return self._alive(pid) and _start_ticks(pid) == ticks

    def _alive(self, pid: int) -> bool:
        child = self._children.get(pid)
        if child is not None and child.poll() is not None:
            del self._children[pid]
        return _start_ticks(pid) is not None


def parse_leases(text: str) -> Iterator[Lease]:
    """dnsmasq's own file: ``UNTIL MAC ADDRESS NAME CLIENT`` a line, IPv6's behind a line ``duid``. What can't be
    understood is left out: the client's part is the guest's own words."""
    for line in text.splitlines()[: 2 * MOST_LEASES]:
        words = line.split(" ")
        if len(words) < 4 or words[0] == "duid" or not words[0].isdecimal() or len(words[0]) > 12:
            continue
        try:
            address = str(ip_address(words[2]))
        except ValueError:
            continue
        until = float(words[0]) or None
        yield Lease(words[1].lower()[:64], address, None if words[3] == "*" else words[3][:255], until)


def installed() -> bool:
    return shutil.which(PROGRAM) is not None


def _user() -> pwd.struct_passwd:
    for name in _USERS:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise Unavailable("there is no user that dnsmasq could run as", hint="adduser --system dnsmasq")


def _group(user: pwd.struct_passwd) -> str:
    import grp

    try:
        return grp.getgrgid(user.pw_gid).gr_name
    except KeyError:
        return str(user.pw_gid)


def _write(path: Path, text: str, group: int) -> None:
    """Readable for ``group``, and whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        os.fchown(file.fileno(), 0, group)
        os.fchmod(file.fileno(), 0o640 if group else 0o600)
    new.replace(path)


def _read(path: Path) -> _Record | None:
    try:
        data = json.loads(path.read_text())
        return _Record(int(data["pid"]), int(data["ticks"]), int(data["device"]), data["config"], data["hosts"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _as_json(record: _Record) -> dict[str, object]:
    return {
        "pid": record.pid,
        "ticks": record.ticks,
        "device": record.device,
        "config": record.config,
        "hosts": record.hosts,
    }


def _start_ticks(pid: int) -> int | None:
    """proc(5), stat: field 22; ``None`` for one that is gone, or dead and not yet waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _strays(place: Path) -> Iterator[int]:
    mark = f"{_MARK}={place}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)


def _hint(words: str) -> str:
    if "already in use" in words:
        return "another program serves on this address: ss -lnup 'sport = :53 or sport = :67'"
    return "see the file log in the network's directory of the home"
