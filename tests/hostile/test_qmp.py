"""A QEMU that its guest has taken over says what it likes: its domain is told to be in trouble, others notice
nothing, memory stays bounded, and it can always be destroyed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from tests.hypervisors.qemu_plans import CONFIGS, HOST, TCG
from tests.hypervisors.qemu_scripts import standin, still_there

from wirt.hypervisors.qemu.driver import QemuHypervisor, QemuSettings
from wirt.hypervisors.qemu.monitor import Patience
from wirt.model.domain import Incarnation
from wirt.model.errors import HypervisorError, HypervisorSilent, WirtError
from wirt.model.lifecycle import State
from wirt.plan.launch import plan_launch
from wirt.ports.hypervisor import Launch, RunChanged
from wirt.sandbox import NoSandbox

from .mutations import mutated
from .test_untrusted_lines import QMP

HONEST = """
import contextlib, json, threading
BASE = {{"return": {{}}}}
ANSWERS = {{
    "query-status": {{"return": {{"status": "paused", "running": False}}}},
    "query-blockstats": {{"return": []}},
    "query-cpus-fast": {{"return": [{{"cpu-index": 0, "thread-id": os.getpid()}}]}},
    "qom-list": {{"return": []}},
}}
def say(peer, what):
    peer.sendall(json.dumps(what).encode() + b"\\n")
def event(name, **data):
    when = {{"seconds": 1, "microseconds": 2}}
    return json.dumps({{"timestamp": when, "event": name, "data": data}}).encode() + b"\\n"
def honest(peer, ask):
    say(peer, {{**ANSWERS.get(ask["execute"], BASE), "id": ask.get("id")}})
    if ask["execute"] == "quit":
        os._exit(0)
def hostile(peer, ask):
{hostile}
def flood(peer, data):
    try:
        while True:
            peer.sendall(data)
    except OSError:
        time.sleep(600)
def asked(peer):
    text = ""
    while data := peer.recv(65536):
        text += data.decode()
        while text.lstrip():  # one after another, with nothing in between
            ask, end = json.JSONDecoder().raw_decode(text.lstrip())
            text = text.lstrip()[end:]
            yield ask
def talk(server):
    peer, _ = server.accept()
    peer.sendall(GREETING)
    evil = "guest=evil" in " ".join(sys.argv)
    for ask in asked(peer):
        (hostile if evil and ask["execute"] not in ("qmp_capabilities", "set-action") else honest)(peer, ask)
server = listener("events")
threading.Thread(target=talk, args=(server,), daemon=True).start()
control = listener("control")
while True:
    with contextlib.suppress(OSError):  # the other side may leave in the middle of a word
        talk(control)
"""

GIVEN_UP = "evil: QEMU is no longer listened to: it said "

HOSTILE: dict[str, tuple[str, str]] = {
    "a line without end": ("flood(peer, b'x' * 65536)", GIVEN_UP + "a line of more than 1048576 bytes"),
    "objects in objects": (
        "peer.sendall(b'{\"a\":' * 100000 + b'\\n')",
        GIVEN_UP + "JSON (of more than 50000 parts|that is nested)",
    ),
    "no JSON": ("peer.sendall(b'\\x1b[2J\\x00\\xff\\n')", GIVEN_UP + "text that is not"),
    "no object": ("peer.sendall(b'[' + b'1,' * 100000 + b'1]\\n')", GIVEN_UP + "JSON that is no object"),
    "a number of many digits": (
        "peer.sendall(b'{\"a\": ' + b'1' * 5000 + b'}\\n')",
        GIVEN_UP + "a number of more",
    ),
    "no number": ("peer.sendall(b'{\"a\": NaN}\\n')", GIVEN_UP + "NaN"),
    "an answer to nobody's question": (
        "say(peer, {'return': {}, 'id': ['x']})",
        "evil: QEMU is no longer listened to: it answered a question that nobody asks",
    ),
    "an answer that is none": ("say(peer, {'id': ask['id']})", "QEMU went away during query-cpus-fast"),
    "an object for a list": (
        "say(peer, {'return': {'a': 1}, 'id': ask['id']})",
        "QEMU gave an answer that is no list",
    ),
    "words for objects": ("say(peer, {'return': ['a'], 'id': ask['id']})", "a list of something else"),
    "a vCPU without a thread": ("say(peer, {'return': [{'cpu-index': 0}], 'id': ask['id']})", "no thread-id"),
    "a vCPU without bounds": (
        "say(peer, {'return': [{'cpu-index': 1 << 40, 'thread-id': 1}], 'id': ask['id']})",
        "no cpu-index that could be one",
    ),
    "a vCPU that is a truth": (
        "say(peer, {'return': [{'cpu-index': True, 'thread-id': 1}], 'id': ask['id']})",
        "no cpu-index",
    ),
    "an endless excuse": (
        "say(peer, {'error': {'class': 'GenericError', 'desc': '\\x1b]0;you\\x07\\n' + 'so sorry ' * 100000},"
        " 'id': ask['id']})",
        r"evil: QEMU refused query-cpus-fast: \\x1b\]0;you\\x07\\x0aso sorry .*\.\.\.",
    ),
    "an error that is none": ("say(peer, {'error': 'x' * 100000, 'id': ask['id']})", "QEMU went away"),
    "silence": ("pass", "did not give an answer to query-cpus-fast within 1 s"),
    "its farewell": ("peer.close(); os._exit(3)", "QEMU went away|does not run any more"),
}


class Two:
    """Two domains of one host: ``evil`` and ``good``."""

    def __init__(self, hypervisor: QemuHypervisor, directory: Path) -> None:
        self.hypervisor = hypervisor
        self.directory = directory
        self.evil, self.good = uuid4(), uuid4()
        self.changes: list[RunChanged] = []
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for change in self.hypervisor.changes():
            self.changes.append(change)

    async def launch(self) -> None:
        for domid, (name, uuid) in enumerate({"evil": self.evil, "good": self.good}.items(), 1):
            made = plan_launch(replace(CONFIGS["pvh"], name=name), uuid, domid, HOST, TCG)
            begun = Incarnation(uuid, domid, "here", 1, "qemu", 0.0)
            await self.hypervisor.launch(Launch(made, begun, self.directory / name))

    async def assert_good_is_well(self) -> None:
        vcpus = await asyncio.wait_for(self.hypervisor.vcpus(self.good), 10)
        assert len(vcpus) == 1
        assert not [change for change in self.changes if change.domain == self.good]

    async def close(self) -> None:
        self._reader.cancel()
        for domain in (self.evil, self.good):
            await self.hypervisor.destroy(domain)
        # Those that were adopted are still this process's children, and nobody waits for them.
        reap(still_there(self.directory))
        assert still_there(self.directory) == []


@pytest.fixture
async def two(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Two]:
    body = HONEST.replace("{{", "{").replace("}}", "}").replace("{hostile}", f"    {request.param}")
    binary = standin(tmp_path, body)
    settings = QemuSettings(binary, tmp_path / "cache.json", patience=Patience(2.0, 1.0, 0.5))
    made = Two(QemuHypervisor(settings, NoSandbox("it is no QEMU")), tmp_path)
    try:
        await made.launch()
        yield made
    finally:
        await made.close()


def reap(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def harmless(error: WirtError) -> bool:
    words = error.message + (error.hint or "")
    return words.isprintable() and len(words) < 3000


@pytest.mark.parametrize(
    ("two", "words"), [pytest.param(*case, id=name) for name, case in HOSTILE.items()], indirect=["two"]
)
async def test_what_a_taken_over_qemu_says_harms_its_own_domain_only(two: Two, words: str) -> None:
    before = peak_kib()
    with pytest.raises(WirtError, match=words) as caught:
        await two.hypervisor.vcpus(two.evil)
    assert harmless(caught.value)
    await two.assert_good_is_well()
    with pytest.raises(WirtError) as caught:
        await two.hypervisor.pause(two.evil)
        await two.hypervisor.vcpus(two.evil)
    assert harmless(caught.value)
    assert peak_kib() - before < 64 * 1024


FLOODS = {
    "events that a guest can make": "flood(peer, event('GUEST_CRASHLOADED', action='run') * 500)",
    "one event after another": "flood(peer, (event('STOP') + event('RESUME')) * 500)",
    "ends without end": "flood(peer, (event('SHUTDOWN', reason='guest-reset') + event('RESUME')) * 500)",
    "large events": "flood(peer, event('NEW', data=['x'] * 20000))",
    "answers to nobody": 'flood(peer, b\'{"return": {}, "id": "x"}\\n\' * 500)',
    "empty lines": "flood(peer, b'\\n' * 65536)",
}


@pytest.mark.parametrize("two", [pytest.param(how, id=name) for name, how in FLOODS.items()], indirect=True)
async def test_a_flood_costs_neither_memory_nor_the_others_their_turn(two: Two) -> None:
    asking = asyncio.create_task(two.hypervisor.vcpus(two.evil))
    await asyncio.sleep(0.3)
    before = peak_kib()
    for _ in range(20):
        await two.assert_good_is_well()
        await asyncio.sleep(0.05)
    with pytest.raises(HypervisorError):
        await asking
    assert peak_kib() - before < 16 * 1024
    assert len(two.changes) < 2000


ADOPTED = {
    "a status that is a list": "say(peer, {'return': ['paused'], 'id': ask['id']})",
    "a status that is a number": "say(peer, {'return': {'status': 7, 'running': 'x'}, 'id': ask['id']})",
    "no status": "say(peer, {'return': {}, 'id': ask['id']})",
    "children that are numbers": "say(peer, {'return': [1, 2], 'id': ask['id']})",
    "children without names": "say(peer, {'return': [{}, {'name': {}}], 'id': ask['id']})",
    "only noise": "flood(peer, event('RTC_CHANGE', offset=1) * 500)",
}


@pytest.mark.parametrize("two", [pytest.param(how, id=name) for name, how in ADOPTED.items()], indirect=True)
async def test_a_new_daemon_takes_over_whoever_is_there(two: Two) -> None:
    hypervisor = two.hypervisor
    ids = {domain: hypervisor._runs[domain].process.identity for domain in (two.evil, two.good)}
    await hypervisor.detach()
    for domid, (name, domain) in enumerate({"evil": two.evil, "good": two.good}.items(), 1):
        identity = ids[domain]
        record = Incarnation(
            domain,
            domid,
            "here",
            1,
            "qemu",
            0.0,
            State.PAUSED,
            pid=identity.pid,
            started_ticks=identity.started_ticks,
            notes={"name": name},
        )
        observed = await hypervisor.adopt(record, two.directory / name)
        assert observed is not None
        assert observed.state in (State.PAUSED, State.RUNNING)
    await two.assert_good_is_well()


SAMPLES = """
if not hasattr(hostile, "lines"):
    hostile.lines = open({path!r}, "rb").read().split(b"\\n--\\n")
peer.sendall(hostile.lines.pop() + b"\\n")
honest(peer, ask)
"""


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 12))])
async def test_damaged_answers_of_a_real_qemu_are_told_or_passed_over(seed: int, tmp_path: Path) -> None:
    lines = [line.replace(b"\n--\n", b"") for line in mutated([line + b"\n" for line in QMP], 60, seed)]
    path = tmp_path / "lines"
    path.write_bytes(b"\n--\n".join(lines))
    body = HONEST.replace("{{", "{").replace("}}", "}")
    words = SAMPLES.replace("{path!r}", repr(str(path))).strip().replace("\n", "\n    ")
    binary = standin(tmp_path, body.replace("{hostile}", f"    {words}"))
    settings = QemuSettings(binary, tmp_path / "cache.json", patience=Patience(2.0, 1.0, 0.5))
    two = Two(QemuHypervisor(settings, NoSandbox("it is no QEMU")), tmp_path)
    try:
        await two.launch()
        for _ in range(60):
            try:
                await two.hypervisor.vcpus(two.evil)
            except HypervisorSilent:
                raise
            except WirtError as error:
                assert harmless(error)
                await again(two)
        await two.assert_good_is_well()
    finally:
        await two.close()


async def again(two: Two) -> None:
    """Listen to ``evil`` once more, as a new daemon would."""
    run = two.hypervisor._runs[two.evil]
    if run.process.gone or run.monitor.connected:
        return
    await run.monitor.close()
    await run.connect()
