"""Single strings of a list in a text, replaced or added: comments, order and layout around them stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wirt.config.xlcfg.document import Splice, append, apply, quote, render
from wirt.config.xlcfg.settings import Settings, settle
from wirt.config.xlcfg.spec import parts
from wirt.config.xlcfg.syntax import parse
from wirt.model.devices import DiskSpec


def entries(text: str, key: str) -> tuple[str, ...]:
    """The strings of the list ``key``, in the order in which the devices are made of them."""
    return _settings(text).texts(key)


def with_entries(text: str, key: str, changed: Mapping[int, str], more: Sequence[str] = ()) -> str:
    """``text`` with those strings of the list ``key`` replaced that ``changed`` has by their places, and ``more``
    after them."""
    nodes = _settings(text).nodes(key)
    splices = [Splice(nodes[place].start, nodes[place].end, quote(entry)) for place, entry in changed.items()]
    text = apply(text, splices)
    return (
        append(text, [f"{key} += {render(list(more))}" if nodes else f"{key} = {render(list(more))}"])
        if more
        else text
    )


def disk_entry(disk: DiskSpec) -> str:
    """One entry of ``disk`` by names (xl-disk-configuration(5)); of a disk that has a target."""
    words = [f"vdev={disk.vdev}"]
    if disk.format_given:
        words.append(f"format={disk.format}")
    if disk.cdrom:
        words.append("devtype=cdrom")
    elif not disk.writable:
        words.append("access=ro")
    named = {
        "backend": None if disk.backend == "0" else disk.backend,
        "backendtype": disk.backend_type,
        "script": disk.script,
        "specification": disk.specification,
        "transport": disk.transport,
        "grant_usage": None if disk.grant_usage is None else int(disk.grant_usage),
    }
    words += [f"{name}={value}" for name, value in named.items() if value is not None]
    words += [
        ("colo" if value == "1" else "no-colo") if name == "colo" else f"{name}={value}"
        for name, value in disk.colo
    ]
    words += [
        word for word, said in (("direct-io-safe", disk.direct_io_safe), ("no-discard", not disk.discard)) if said
    ]
    words += [] if disk.trusted else ["untrusted"]
    return ",".join((*words, f"target={disk.target}"))


def own_card(entry: str, mac: str | None = None) -> tuple[str, tuple[str, ...]]:
    """An entry of ``vif`` without what only one card in the world can have (``mac``, ``ip``, ``vifname``, the
    host's port of a ``forward``), and those words that were left out or changed. With ``mac`` it has that
    address, and keeps ``ip``."""
    kept, lost = [], []
    for part in parts(entry):
        if mac is not None and part.name in ("mac", "ip"):
            kept += [part.text] if part.name == "ip" else []
        elif part.name in ("mac", "ip", "vifname"):
            lost.append(part.text)
        elif part.name == "forward" and part.value.count(":") == 2:
            protocol, host, guest = part.value.split(":")
            kept.append(f"forward={protocol}:{guest}")
            lost += [part.text] if int(host) else []
        else:
            kept.append(part.text)
    return ",".join(kept if mac is None else [f"mac={mac}", *kept]), tuple(lost)


def _settings(text: str) -> Settings:
    return Settings(settle(parse(text, file="<text>").assignments))
