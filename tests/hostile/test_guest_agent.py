"""A guest agent may be anything: what it says is believed in bounds of time, size and shape, or not at all."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from wirt.hypervisors.qemu import agent_answers
from wirt.hypervisors.qemu.freezing import Freezer
from wirt.hypervisors.qemu.guest_agent import MOST_SKIPPED_BYTES, Agent, AgentRefused
from wirt.hypervisors.qemu.untrusted import Malformed
from wirt.model.errors import HypervisorError, HypervisorSilent, Shortage
from wirt.model.vcpus import GuestVcpu
from wirt.ports.guest_agent import AgentInfo, GuestInterface

from .mutations import mutated
from .test_untrusted_lines import json_values

Say = Callable[[bytes], Awaitable[None]]
Behaviour = Callable[[dict[str, Any], Say], Awaitable[None]]

CARD = {
    "name": "eth0",
    "hardware-address": "00:16:3E:00:00:01",
    "ip-addresses": [
        {"ip-address-type": "ipv4", "ip-address": "192.0.2.7", "prefix": 24},
        {"ip-address-type": "ipv6", "ip-address": "fe80::1%eth0", "prefix": 64},
    ],
}
INFO = {
    "version": "7.2.22",
    "supported_commands": [
        {"enabled": True, "name": "guest-ping", "success-response": True},
        {"enabled": False, "name": "guest-exec", "success-response": True},
    ],
}
VCPUS = [
    {"logical-id": 0, "online": True, "can-offline": False},
    {"logical-id": 1, "online": False},
]
SYSTEM = {"pretty-name": "Debian GNU/Linux 12", "kernel-release": "6.1.0", "id": "debian"}


async def honest(ask: dict[str, Any], say: Say) -> None:
    if ask["execute"] == "guest-sync-delimited":
        await say(b"\xff" + json.dumps({"return": ask["arguments"]["id"]}).encode() + b"\n")
    else:
        await say(b'{"return": {}}\n')


def instead(answer: bytes) -> Behaviour:
    """An agent that is well as long as it is not asked for anything."""

    async def behave(ask: dict[str, Any], say: Say) -> None:
        if ask["execute"] == "guest-sync-delimited":
            await honest(ask, say)
        else:
            await say(answer)

    return behave


@asynccontextmanager
async def an_agent(tmp_path: Path, behave: Behaviour) -> AsyncIterator[Agent]:
    """One that does ``behave`` with each request, and hangs up when that fails."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        try:
            while line := await reader.readline():
                await behave(json.loads(line.rpartition(b"\xff")[2]), say)
        except (ConnectionError, EOFError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, tmp_path / "agent.sock")
    try:
        yield Agent("evil", tmp_path / "agent.sock")
    finally:
        server.close()


async def test_old_answers_and_noise_before_the_answer_are_skipped(tmp_path: Path) -> None:
    async def behave(ask: dict[str, Any], say: Say) -> None:
        if ask["execute"] == "guest-sync-delimited":
            number = ask["arguments"]["id"]
            await say(b'{"return": "of another time"}\n')
            await say(json.dumps({"return": number}).encode() + b"\n")  # without the delimiter it may be a guess
            await say(b"\xff" + json.dumps({"return": number + 1}).encode() + b"\n")
            await say(b"\xff" + json.dumps({"return": float(number)}).encode() + b"\n")
            await say(b"\xff\xff\xfe not JSON\n\n\r\n" + b'{"return": {"half": "an ans')
        await honest(ask, say)

    async with an_agent(tmp_path, behave) as agent:
        assert await agent.ask("guest-ping") == {}


async def test_an_answer_that_comes_too_late_is_not_the_next_ones(tmp_path: Path) -> None:
    """As over a virtio port: what the guest writes when nobody is there waits for whoever comes next."""
    late: list[bytes] = []
    slow = asyncio.Event()

    async def behave(ask: dict[str, Any], say: Say) -> None:
        if ask["execute"] == "guest-info" and not slow.is_set():
            slow.set()
            late.append(b'{"return": {"version": "late"}}\n')
            return
        for data in late:
            await say(data)
        late.clear()
        await honest(ask, say)

    async with an_agent(tmp_path, behave) as agent:
        with pytest.raises(HypervisorSilent, match=r"did not answer guest-info within 0\.2 s"):
            await agent.ask("guest-info", deadline_s=0.2)
        assert await agent.ask("guest-ping") == {}


@pytest.mark.parametrize(
    "flood",
    [b"A", b"\n", b"\xff", b"{}\n", b'{"return": 1}\n', b'\xff{"return": 7}\n', b"[", b"\0\n"],
    ids=repr,
)
async def test_one_that_talks_without_end_costs_little_and_is_given_up(flood: bytes, tmp_path: Path) -> None:
    async def behave(ask: dict[str, Any], say: Say) -> None:
        while True:
            await say(flood * (65536 // len(flood)))

    async with an_agent(tmp_path, behave) as agent:
        tracemalloc.start()
        try:
            with pytest.raises(HypervisorError):
                await agent.ask("guest-ping", deadline_s=0.5)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 16 * MOST_SKIPPED_BYTES


async def test_one_that_says_nothing_is_waited_for_only_so_long(tmp_path: Path) -> None:
    async def behave(ask: dict[str, Any], say: Say) -> None:
        return

    async with an_agent(tmp_path, behave) as agent:
        with pytest.raises(HypervisorSilent) as caught:
            await agent.ask("guest-ping", deadline_s=0.2)
        assert caught.value.hint is not None
        waiting = [asyncio.create_task(agent.ask("guest-ping", deadline_s=0.2)) for _ in range(5)]
        for each in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(each, HypervisorSilent), "also those that wait for their turn"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b'{"error": {"class": "GenericError", "desc": "\x1b[2J\x07 no"}}\n', r"\\x1b\[2J\\x07 no|not JSON"),
        (b'{"error": {"class": "GenericError", "desc": "\\u001b[2J\\u202e"}}\n', r"\\x1b\[2J\\u202e"),
        (b'{"error": {"desc": ["a"]}}\n', "it does not say why"),
        (b'{"error": null, "return": 1}\n', "it does not say why"),
        (b'{"error": {"desc": "' + b"A" * 5000 + b'"}}\n', r"A\.\.\.$"),
        (b'{"event": "SHUTDOWN"}\n', "neither an answer nor an error"),
        (b"[1]\n", "JSON that is no object"),
        (b'{"return": ' + b"[" * 5000 + b"]" * 5000 + b"}\n", "nested more than"),
        (b'{"return": 1e999}\n', "beyond all bounds"),
        (b'"\xc3\x28"\n', "not UTF-8"),
    ],
)
async def test_what_it_says_is_told_in_plain_words(answer: bytes, told: str, tmp_path: Path) -> None:
    async with an_agent(tmp_path, instead(answer)) as agent:
        with pytest.raises(HypervisorError) as caught:
            await agent.ask("guest-ping")
    assert re.search(told, caught.value.message), caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400
    assert isinstance(caught.value, AgentRefused) == (
        b'"error"' in answer and "not JSON" not in caught.value.message
    )


async def test_one_that_hangs_up_is_told_of_at_once(tmp_path: Path) -> None:
    async def behave(ask: dict[str, Any], say: Say) -> None:
        raise EOFError

    async with an_agent(tmp_path, behave) as agent:
        with pytest.raises(HypervisorError, match="port went away during guest-ping"):
            await agent.ask("guest-ping", deadline_s=60)


def test_honest_answers_are_understood() -> None:
    assert agent_answers.info(INFO) == AgentInfo("7.2.22", frozenset({"guest-ping"}))
    assert agent_answers.system(SYSTEM) == ("Debian GNU/Linux 12", "6.1.0")
    assert agent_answers.interfaces([CARD]) == (
        GuestInterface("eth0", "00:16:3e:00:00:01", ("192.0.2.7/24", "fe80::1/64")),
    )
    assert agent_answers.count(3) == 3
    assert agent_answers.vcpus(VCPUS) == (GuestVcpu(0, online=True, fixed=True), GuestVcpu(1, online=False))
    assert agent_answers.frozen("frozen")
    assert not agent_answers.frozen("thawed")


READERS: dict[str, Callable[[object], object]] = {
    "count": agent_answers.count,
    "frozen": agent_answers.frozen,
    "info": agent_answers.info,
    "system": agent_answers.system,
    "interfaces": agent_answers.interfaces,
    "vcpus": agent_answers.vcpus,
}


def check(read: Callable[[object], object], answer: object) -> None:
    """Understood as what it should be, all in bounds and printable, or refused."""
    try:
        told = read(answer)
    except Malformed as error:
        assert str(error).isprintable()
        assert len(str(error)) < 100
        return
    texts = re.findall(r"'([^']*)'", repr(told))
    assert all(len(text) <= 2 * agent_answers.MOST_TEXT for text in texts)
    if isinstance(told, AgentInfo):
        assert told.version.isprintable()
    elif isinstance(told, tuple) and told and isinstance(told[0], GuestInterface):
        assert all(part.isprintable() for each in told for part in (each.name, each.mac, *each.addresses))
    elif isinstance(told, tuple) and told and isinstance(told[0], GuestVcpu):
        assert len({each.number for each in told}) == len(told) <= agent_answers.MOST_VCPUS
        assert all(0 <= each.number < 1 << 31 for each in told)
    elif isinstance(told, tuple):
        assert all(isinstance(text, str) and text.isprintable() for text in told)


@given(answer=json_values)
@pytest.mark.parametrize("name", READERS)
def test_no_answer_is_too_strange(name: str, answer: object) -> None:
    check(READERS[name], answer)


def test_damaged_answers_are_understood_or_refused() -> None:
    samples = [json.dumps(each).encode() for each in (INFO, SYSTEM, [CARD], VCPUS, 3, "frozen")]
    understood = 0
    for data in mutated(samples, 5000, seed=4):
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError):
            continue
        understood += 1
        for read in READERS.values():
            check(read, answer)
    assert understood > 100


@pytest.mark.parametrize("count", [-1, True, 10_001, 1 << 63, 1.0, "1", None, [], {}])
def test_a_number_of_file_systems_that_can_not_be_is_refused(count: object) -> None:
    with pytest.raises(Malformed):
        agent_answers.count(count)


class Frozen:
    """An agent that can freeze, and whatever else a test wants: ``answers`` are given in place of its own, in
    turn, ``None`` for silence."""

    def __init__(self, *answers: bytes | None) -> None:
        self.frozen = False
        self.asked: list[str] = []
        self._answers = list(answers)

    async def __call__(self, ask: dict[str, Any], say: Say) -> None:
        command = ask["execute"]
        if command == "guest-sync-delimited":
            return await honest(ask, say)
        self.asked.append(command)
        self.frozen = command == "guest-fsfreeze-freeze"
        answer = self._answers.pop(0) if self._answers else b'{"return": 2}\n'
        if answer is not None:
            await say(answer)
        return None


async def until(what: Callable[[], bool]) -> None:
    for _ in itertools.repeat(None, 500):
        if what():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("never so")


async def test_file_systems_that_nobody_thaws_are_thawed(tmp_path: Path) -> None:
    behave, mark = Frozen(), tmp_path / "frozen"
    async with an_agent(tmp_path, behave) as agent:
        freezer = Freezer(agent, mark, 0.3)
        assert await freezer.freeze() == 2
        assert mark.exists()
        await until(lambda: not behave.frozen)
        await until(lambda: not mark.exists())
        assert behave.asked == ["guest-fsfreeze-freeze", "guest-fsfreeze-thaw"]


async def test_a_freeze_whose_answer_is_no_number_is_undone(tmp_path: Path) -> None:
    behave, mark = Frozen(b'{"return": "many"}\n'), tmp_path / "frozen"
    async with an_agent(tmp_path, behave) as agent:
        with pytest.raises(HypervisorError, match="no number of file systems"):
            await Freezer(agent, mark, 60).freeze()
        await until(lambda: not mark.exists())
        assert not behave.frozen


async def test_a_thaw_that_fails_is_tried_until_it_does_not(tmp_path: Path) -> None:
    behave, mark = Frozen(b'{"return": 1}\n', b'{"return": {}}\n', b"\xfe\n"), tmp_path / "frozen"
    async with an_agent(tmp_path, behave) as agent:
        freezer = Freezer(agent, mark, 60)
        await freezer.freeze()
        with pytest.raises(HypervisorError):
            await freezer.thaw()
        await until(lambda: not mark.exists())
        assert behave.asked[1:] == ["guest-fsfreeze-thaw"] * 3


async def test_an_agent_that_can_not_freeze_is_not_asked_for_ever(tmp_path: Path) -> None:
    no = b'{"error": {"class": "CommandNotFound", "desc": "has been disabled"}}\n'
    behave, mark = Frozen(no, no), tmp_path / "frozen"
    async with an_agent(tmp_path, behave) as agent:
        with pytest.raises(AgentRefused, match="disabled"):
            await Freezer(agent, mark, 60).freeze()
        await until(lambda: not mark.exists())
        await asyncio.sleep(0.1)
        assert behave.asked == ["guest-fsfreeze-freeze", "guest-fsfreeze-thaw"]


async def test_what_can_not_be_written_down_is_not_frozen(tmp_path: Path) -> None:
    behave = Frozen()
    async with an_agent(tmp_path, behave) as agent:
        with pytest.raises(Shortage, match="can't be written down"):
            await Freezer(agent, tmp_path / "no such directory" / "frozen", 60).freeze()
    assert behave.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        [{"logical-id": 0}],
        [{"logical-id": -1, "online": True}],
        [{"logical-id": True, "online": True}],
        [{"logical-id": 1 << 31, "online": True}],
        [{"logical-id": 0, "online": 1}],
        [{"logical-id": 0, "online": True, "can-offline": "no"}],
        [{"logical-id": 0, "online": True}] * 2,
        [{"logical-id": number, "online": True} for number in range(agent_answers.MOST_VCPUS + 1)],
        {"logical-id": 0, "online": True},
    ],
)
def test_vcpus_that_can_not_be_are_refused(answer: object) -> None:
    with pytest.raises(Malformed):
        agent_answers.vcpus(answer)
