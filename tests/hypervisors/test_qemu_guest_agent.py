"""The client of the guest agent's protocol, on QEMU's own agent (which runs here, outside of any guest)."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from wirt.hypervisors.qemu import agent_answers
from wirt.hypervisors.qemu.guest_agent import Agent, AgentRefused
from wirt.model.errors import HypervisorError
from wirt.ports.guest_agent import LISTS_VCPUS, SETS_VCPUS

from .rigs import eventually

REFUSED = "guest-fsfreeze-freeze,guest-fsfreeze-thaw,guest-set-time,guest-shutdown"
"""This machine is not its to freeze, to set, or to shut down."""


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    program = shutil.which("qemu-ga", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("needs QEMU's guest agent: tools/setup.sh test (Debian: apt-get install qemu-guest-agent)")
    path = tmp_path / "agent.sock"
    words = ("-m", "unix-listen", "-p", str(path), "-t", str(tmp_path), "-b", REFUSED)
    process = await asyncio.create_subprocess_exec(program, *words)
    try:
        await eventually(path.exists)
        yield Agent("guest", path)
    finally:
        process.kill()
        await process.wait()


async def test_qemus_own_agent_is_understood(agent: Agent) -> None:
    assert await agent.ask("guest-ping") == {}
    info = agent_answers.info(await agent.ask("guest-info"))
    assert info.version[0].isdigit()
    assert "guest-network-get-interfaces" in info.commands
    assert "guest-shutdown" not in info.commands, "it is there, and disabled"
    system, kernel = agent_answers.system(await agent.ask("guest-get-osinfo"))
    assert system
    assert kernel
    assert not agent_answers.frozen(await agent.ask("guest-fsfreeze-status"))
    interfaces = agent_answers.interfaces(await agent.ask("guest-network-get-interfaces"))
    assert "127.0.0.1/8" in next(each for each in interfaces if each.name == "lo").addresses
    assert {LISTS_VCPUS, SETS_VCPUS} <= info.commands
    assert any(each.online for each in agent_answers.vcpus(await agent.ask(LISTS_VCPUS)))
    with pytest.raises(AgentRefused, match="guest: its guest agent refused guest-fsfreeze-freeze: "):
        await agent.ask("guest-fsfreeze-freeze")


async def test_what_an_earlier_question_left_in_the_channel_is_not_taken_for_an_answer(
    agent: Agent, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(tmp_path / "agent.sock"))
        # Half a request of somebody whose daemon was killed meanwhile.
        other.sendall(b'{"execute": "guest-info"}\n{"execute": "guest-pi')
    while True:
        try:
            answer = await agent.ask("guest-ping")
            break
        except HypervisorError as error:
            # qemu-ga at a socket of its own, unlike one behind QEMU, may drop the next caller with the last.
            assert "port went away" in str(error)
    assert answer == {}


async def test_requests_at_once_are_answered_one_after_the_other(agent: Agent) -> None:
    answers = await asyncio.gather(*(agent.ask("guest-fsfreeze-status") for _ in range(20)))
    assert answers == ["thawed"] * 20


async def test_a_port_that_nobody_serves_is_an_error_and_no_hang(tmp_path: Path) -> None:
    alone = Agent("guest", tmp_path / "nobody.sock")
    assert not alone.has_port
    with pytest.raises(HypervisorError, match="port went away"):
        await alone.ask("guest-ping")
