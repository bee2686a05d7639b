"""What another host's daemon is to this one, whichever way it is reached."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from wirt.model.errors import DeadlinePassed, IllegalState, NotFound, PeerUnreachable
from wirt.ports.migration import Channel
from wirt.ports.peers import Peer

from .worlds import World

PATIENCE_S = 30.0


async def echo(method: str, path: str, body: Any) -> Any:
    return {"method": method, "path": path, "body": body}


async def received(stream: socket.socket, size: int) -> bytes:
    def read() -> bytes:
        stream.settimeout(PATIENCE_S)
        data = b""
        while len(data) < size and (piece := stream.recv(size - len(data))):
            data += piece
        return data

    return await asyncio.to_thread(read)


async def test_a_peer_says_what_it_calls_itself(world: World) -> None:
    peer = await world.near.reach(world.target)
    assert peer.name == "far"
    assert peer.protects is world.through_ssh
    await peer.close()


async def test_a_call_brings_the_answers_json(world: World) -> None:
    world.serve(echo)
    peer = await world.near.reach(world.target)
    assert await peer.call("GET", "/v1/x", deadline_s=PATIENCE_S) == {
        "method": "GET",
        "path": "/v1/x",
        "body": None,
    }
    for number in range(3):
        answer = await peer.call("POST", "/v1/y", {"n": number, "u": "ä"}, deadline_s=PATIENCE_S)
        assert answer["body"] == {"n": number, "u": "ä"}
    await peer.close()


async def test_calls_made_at_once_each_get_their_own_answer(world: World) -> None:
    world.serve(echo)
    peer = await world.near.reach(world.target)
    calls = [peer.call("POST", "/v1/x", {"n": number}, deadline_s=PATIENCE_S) for number in range(10)]
    assert [answer["body"]["n"] for answer in await asyncio.gather(*calls)] == list(range(10))
    await peer.close()


async def test_a_call_that_takes_long_keeps_none_out_but_those_through_ssh(world: World) -> None:
    go_on = asyncio.Event()

    async def handle(method: str, path: str, body: Any) -> Any:
        if path == "/v1/long":
            await go_on.wait()
        return path

    world.serve(handle)
    peer = await world.near.reach(world.target)
    long = asyncio.create_task(peer.call("POST", "/v1/long", {}, deadline_s=PATIENCE_S))
    await asyncio.sleep(0)
    if world.through_ssh:
        go_on.set()
    assert await peer.call("GET", "/v1/short", deadline_s=PATIENCE_S) == "/v1/short"
    go_on.set()
    assert await long == "/v1/long"
    await peer.close()


async def test_an_error_is_raised_as_what_it_is_with_the_peers_name(world: World) -> None:
    async def refuse(method: str, path: str, body: Any) -> Any:
        raise IllegalState("web is paused", hint="unpause it")

    world.serve(refuse)
    peer = await world.near.reach(world.target)
    with pytest.raises(IllegalState) as caught:
        await peer.call("POST", "/v1/x", {}, deadline_s=PATIENCE_S)
    assert caught.value.message == "far: web is paused"
    assert caught.value.hint == "unpause it"
    await peer.close()


async def test_what_the_peer_can_not_reach_is_not_taken_for_the_peer(world: World) -> None:
    """The answer came: that it had no effect is known."""

    async def refuse(method: str, path: str, body: Any) -> Any:
        raise PeerUnreachable("a third host is silent")

    world.serve(refuse)
    peer = await world.near.reach(world.target)
    with pytest.raises(Exception, match="third host") as caught:
        await peer.call("POST", "/v1/x", {}, deadline_s=PATIENCE_S)
    assert not isinstance(caught.value, PeerUnreachable)
    await peer.close()


async def test_a_call_without_an_answer_ends_at_its_deadline_and_the_next_one_works(world: World) -> None:
    async def never(method: str, path: str, body: Any) -> Any:
        await asyncio.sleep(3600)

    world.serve(never)
    peer = await world.near.reach(world.target)
    with pytest.raises(PeerUnreachable):
        await peer.call("POST", "/v1/x", {}, deadline_s=0.3)
    world.serve(echo)
    assert (await peer.call("GET", "/v1/z", deadline_s=PATIENCE_S))["path"] == "/v1/z"
    await peer.close()


async def test_a_call_that_is_cancelled_does_not_leave_its_answer_to_the_next(world: World) -> None:
    async def late(method: str, path: str, body: Any) -> Any:
        await asyncio.sleep(0.3)
        return {"late": True}

    world.serve(late)
    peer = await world.near.reach(world.target)
    call = asyncio.create_task(peer.call("POST", "/v1/x", {}, deadline_s=PATIENCE_S))
    await asyncio.sleep(0.1)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    world.serve(echo)
    assert (await peer.call("GET", "/v1/z", deadline_s=PATIENCE_S))["path"] == "/v1/z"
    await peer.close()


async def test_a_name_that_nobody_has_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await world.near.reach("nobody")


@pytest.mark.parametrize("token", [True, False])
async def test_a_stream_comes_in_through_a_door(world: World, token: bool) -> None:
    door = await world.far.open_door(through_ssh=world.through_ssh, token=token)
    assert (door.door.token is not None) is token
    assert door.protected is world.through_ssh
    peer = await world.near.reach(world.target)
    out, inner = await asyncio.gather(peer.stream(door.door, PATIENCE_S), door.accept(PATIENCE_S))
    assert out.getblocking() and inner.getblocking()
    _, came = await asyncio.gather(asyncio.to_thread(out.sendall, b"there" * 100_000), received(inner, 500_000))
    assert came == b"there" * 100_000
    await asyncio.to_thread(inner.sendall, b"back")
    assert await received(out, 4) == b"back"
    out.shutdown(socket.SHUT_WR)
    assert await received(inner, 1) == b""
    inner.sendall(b"last")
    inner.close()
    assert await received(out, 5) == b"last"
    out.close()
    door.close()
    await peer.close()


async def test_several_streams_come_in_through_one_door(world: World) -> None:
    door = await world.far.open_door(through_ssh=world.through_ssh, token=True)
    peer = await world.near.reach(world.target)
    for number in range(3):
        out = await peer.stream(door.door, PATIENCE_S)
        out.sendall(bytes([number]))
        inner = await door.accept(PATIENCE_S)
        assert await received(inner, 1) == bytes([number])
        out.close()
        inner.close()
    door.close()
    await peer.close()


async def test_who_waits_for_a_stream_waits_until_the_deadline(world: World) -> None:
    door = await world.far.open_door(through_ssh=world.through_ssh, token=True)
    with pytest.raises(DeadlinePassed):
        await door.accept(0.1)
    door.close()


async def test_a_door_that_was_closed_lets_nobody_in(world: World) -> None:
    door = await world.far.open_door(through_ssh=world.through_ssh, token=False)
    door.close()
    peer = await world.near.reach(world.target)
    with pytest.raises(PeerUnreachable):
        await peer.stream(door.door, PATIENCE_S)
    await peer.close()


async def test_who_accepts_by_itself_gets_the_listening_socket(world: World) -> None:
    door = await world.far.open_door(through_ssh=world.through_ssh, token=False)
    peer: Peer = await world.near.reach(world.target)
    listening = door.listener()
    listening.setblocking(True)
    listening.settimeout(PATIENCE_S)
    out, (inner, _) = await asyncio.gather(peer.stream(door.door, PATIENCE_S), asyncio.to_thread(listening.accept))
    out.sendall(b"x")
    assert await received(inner, 1) == b"x"
    out.close()
    inner.close()
    door.close()
    await peer.close()


async def test_what_goes_through_a_protected_stream_arrives_and_only_from_who_has_the_credentials(
    world: World,
) -> None:
    receiving, sending = (None, None) if world.through_ssh else await world.far.credentials()
    door = await world.far.open_door(through_ssh=world.through_ssh, token=True)
    peer = await world.near.reach(world.target)
    out, inner = await peer.stream(door.door), await door.accept(5)
    near, far = await asyncio.gather(
        world.near.protect(Channel(out, sending), receives=False),
        world.far.protect(Channel(inner, receiving), receives=True),
    )
    await asyncio.to_thread(near.sendall, b"a disk")
    assert await received(far, 6) == b"a disk"
    near.close()
    far.close()
    door.close()
    await peer.close()


async def test_what_a_hypervisor_puts_into_a_tunnel_comes_out_at_the_other_host(world: World) -> None:
    receiving, sending = (None, None) if world.through_ssh else await world.far.credentials()
    door = await world.far.open_door(through_ssh=world.through_ssh, token=True)
    peer = await world.near.reach(world.target)
    out, inner = await peer.stream(door.door), await door.accept(5)
    near, far = await asyncio.gather(
        world.near.tunnel(Channel(out, sending), receives=False),
        world.far.tunnel(Channel(inner, receiving), receives=True),
    )
    await asyncio.to_thread(near.sendall, b"memory")
    assert await received(far, 6) == b"memory"
    near.close()
    assert await asyncio.to_thread(far.recv, 1) == b"", "it ends where the sender ends it"
    far.close()
    door.close()
    await peer.close()


async def test_credentials_are_new_for_each_migration_and_fit_one_another(world: World) -> None:
    first, second = await world.near.credentials(), await world.near.credentials()
    for receiving, sending in (first, second):
        assert receiving.authority == sending.authority
        assert receiving.name == sending.name
        assert receiving.key != sending.key
        assert "PRIVATE KEY" not in repr(receiving)
    assert first[0].authority != second[0].authority
