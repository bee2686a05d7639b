"""Shares of a network's way out, made by tc(8) in one batch: classes of a token bucket (tc-htb(8)) on the device
and on an ifb that what comes in is redirected to (tc-mirred(8)), told apart by guests' addresses (tc-u32(8)).

On a bridge whose host forwards, nothing is redirected, and the ifb only keeps what the sharing was made from:
where br_netfilter is loaded, a frame that has been elsewhere between bridge and host is not tracked any more, and
leaves with the guest's own address (Linux, net/bridge/br_netfilter_hooks.c, ip_sabotage_in).

A sharing is made anew whenever anything of it changes; what waits in its queues at that moment is lost, and sent
again by whoever needs it. What it was made from stands in the ifb's alias, so that it is known again.
"""

from __future__ import annotations

import hashlib
import shutil
import socket
from collections.abc import Iterator

from wirt.model.errors import Unavailable
from wirt.network.links import IFB, Links, index_of
from wirt.plan.networks_actions import EndSharing, SetSharing
from wirt.plan.networks_shares import Sharing, classes
from wirt.ports.process import finish

PREFIX = "sh-"
HANDLE, ROOT = 0x77, 1
"""The number of wirt's own buckets, and of the class that has all that the way out carries."""
BUCKETS, INGRESS = ("htb", HANDLE << 16), ("ingress", 0xFFFF0000)
BOTH, ONE = "both", "one"
QUEUE_FRAMES = 500
DEADLINE_S = 20.0


async def observe(links: Links, tag: str) -> dict[str, str]:
    """By device that is shared, what of (the digest); empty if not all of it is there."""
    if not any(name.startswith(PREFIX) for _, name in socket.if_nameindex()):
        return {}
    aliases = {name: alias.split() for name, alias in (await links.aliases(IFB)).items()}
    ours = {name: words for name, words in aliases.items() if len(words) == 4 and words[0] == tag}
    there = await links.disciplines() if ours else {}
    found = {}
    for name, (_, device, digest, ways) in ours.items():
        here, ifb = (there.get(index_of(each) or 0, set()) for each in (device, name))
        whole = BUCKETS in here and (ways != BOTH or (BUCKETS in ifb and INGRESS in here))
        found[device] = digest if whole else ""
    return found


async def apply(links: Links, action: SetSharing | EndSharing, tag: str) -> None:
    """``OSError`` or ``Unavailable`` with the reason; what is half done is found amiss by the next look."""
    device = action.device if isinstance(action, EndSharing) else action.sharing.device
    await _end(links, device, tag)
    if isinstance(action, EndSharing):
        return
    ifb = ifb_of(device, tag)
    index = await links.add_ifb(ifb)
    ways = BOTH if action.sharing.outward else ONE
    await links.set_alias(index, f"{tag} {device} {action.sharing.digest} {ways}")
    await run(batch(action.sharing, ifb))


async def _end(links: Links, device: str, tag: str) -> None:
    """The ifb goes last: by it a daemon that comes after knows that there was something."""
    index, ifb = index_of(device), index_of(ifb_of(device, tag))
    if index is not None:
        there = (await links.disciplines()).get(index, set())
        if BUCKETS in there:
            await links.unshape(index)
        if ifb is not None and INGRESS in there:
            await links.end_ingress(index)
    if ifb is not None:
        await links.delete(ifb)


def installed() -> bool:
    return shutil.which("tc") is not None


def ifb_of(device: str, tag: str) -> str:
    """The name of the ifb for what comes in by ``device``."""
    return PREFIX + hashlib.blake2s(f"{tag} {device}".encode(), digest_size=5).hexdigest()


def batch(sharing: Sharing, ifb: str) -> str:
    """What tc is to do, with nothing of wirt's on the two devices before."""
    lines = [*_tree(sharing, sharing.device, source=sharing.outward)]
    if not sharing.outward:
        return "\n".join(lines) + "\n"
    lines += [
        *_tree(sharing, ifb, source=False),
        f"qdisc add dev {sharing.device} ingress",
        f"filter add dev {sharing.device} parent ffff: protocol all prio 1 u32 match u32 0 0 "
        f"action mirred egress redirect dev {ifb}",
    ]
    return "\n".join(lines) + "\n"


def _tree(sharing: Sharing, device: str, *, source: bool) -> Iterator[str]:
    """``source``: guests are known by whom frames come from, else by whom they go to."""
    found = classes(sharing)
    most = f"{sharing.bytes_per_s}bps"
    yield f"qdisc add dev {device} root handle {HANDLE:x}: htb default {found[-1].number:x}"
    yield f"class add dev {device} parent {HANDLE:x}: classid {HANDLE:x}:{ROOT:x} htb rate {most} ceil {most}"
    for each in found:
        number = f"{HANDLE:x}:{each.number:x}"
        rate = f"rate {each.bytes_per_s}bps ceil {most} quantum {each.quantum}"
        yield f"class add dev {device} parent {HANDLE:x}:{ROOT:x} classid {number} htb {rate}"
        yield f"qdisc add dev {device} parent {number} pfifo limit {QUEUE_FRAMES}"
        if each.mac is not None:
            yield (
                f"filter add dev {device} parent {HANDLE:x}: protocol all prio 1 u32 "
                f"{_match(each.mac, source=source)} classid {number}"
            )


def _match(mac: str, *, source: bool) -> str:
    """Of an Ethernet header, which lies before what u32 counts from: 14 bytes, the receiver's address first."""
    digits = mac.replace(":", "")
    if source:
        return f"match u32 0x{digits[:8]} 0xffffffff at -8 match u16 0x{digits[8:]} 0xffff at -4"
    return f"match u16 0x{digits[:4]} 0xffff at -14 match u32 0x{digits[4:]} 0xffffffff at -12"


async def run(text: str) -> None:
    """``Unavailable`` with tc's words."""
    try:
        ended = await finish(["tc", "-batch", "-"], deadline_s=DEADLINE_S, given=text.encode())
    except OSError as error:
        hint = "apt-get install iproute2"
        raise Unavailable("tc is not installed, which shares a way out", hint=hint) from error
    if ended.code != 0:
        said = " ".join(ended.said.decode(errors="replace").split())[:300]
        hint = "see what this kernel has (tc-htb(8), tc-u32(8)), and whether somebody else shapes that device"
        raise Unavailable(f"the way out can't be shared: {said}", hint=hint)
