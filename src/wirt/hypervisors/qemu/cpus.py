"""Which CPUs QEMU can give guests on this host, under the accelerator in use: asked of QEMU itself, once per
boot of the host (QEMU QMP reference, "query-cpu-definitions", "query-cpu-model-expansion").

No guest runs in the QEMU that is asked, and what it answers is bounded all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from wirt.hypervisors.qemu.monitor import Monitor
from wirt.hypervisors.qemu.probe import boot_key
from wirt.hypervisors.qemu.untrusted import Malformed, parse
from wirt.model.cpu import MOST_FEATURES, CpuModel, CpuOffer, is_feature
from wirt.model.errors import HypervisorError
from wirt.plan.cpu import ChosenCpu
from wirt.plan.host import Accelerator, HypervisorFacts
from wirt.plan.launch import MACHINE
from wirt.ports.hypervisor import cpu_notes
from wirt.ports.process import MOST_BYTES, started

ASK_S = 8.0
"""It takes a third of a second where nothing else runs."""
MOST_MODELS = 400
"""QEMU 10 has 154."""
VERSION = 1
"""Of what is kept; another one is asked for anew."""
FIRST_CPU = "/machine/unattached/device[0]"
"""Where QEMU has the first vCPU of a PC, from 7.2 to 10 (query-cpus-fast, "qom-path")."""
_LONGEST_NAME = 64


async def with_cpu(facts: HypervisorFacts, binary: str, cache: Path) -> HypervisorFacts:
    """``facts``, and which CPUs there are; without them if QEMU does not say so within :data:`ASK_S`."""
    key = f"{VERSION} {boot_key(binary)} {facts.accelerator}"
    kept = _kept(cache, key)
    if kept is not None:
        return replace(facts, cpu=kept)
    try:
        found = await ask(binary, facts.accelerator)
    except (TimeoutError, ValueError, OSError) as error:  # Malformed is a ValueError
        note = f"which CPUs guests can have is not known: {error or 'QEMU did not answer in time'}"
        return replace(facts, notes=(*facts.notes, note))
    # Without it the next start asks again: that is no reason to fail.
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps({"key": key, "cpu": _written(found)}))
    return replace(facts, cpu=found)


async def ask(binary: str, accelerator: Accelerator) -> CpuOffer:
    """``Malformed`` if the answers make no sense, ``TimeoutError`` if they take too long."""
    definitions = (await _answers(binary, accelerator, [{"execute": "query-cpu-definitions"}]))[0]
    able, unable = _definitions(definitions)
    whole = "host" if accelerator is Accelerator.KVM else "max"
    expansions = await _answers(binary, accelerator, [_expand(name) for name in (whole, *able)])
    properties = _properties(expansions[0])
    models = [
        CpuModel(name, _features(_properties(each))) for name, each in zip(able, expansions[1:], strict=True)
    ]
    models += [CpuModel(name, frozenset(), missing) for name, missing in unable.items()]
    vendor = _text(properties, "vendor")
    family, model = (_number(properties, name) for name in ("family", "model"))
    identity = f"{vendor} family {family} model {model}"
    ordered = tuple(sorted(models, key=lambda each: each.name))
    return CpuOffer(vendor, identity, _features(properties), ordered)


async def notes(monitor: Monitor, cpu: ChosenCpu | None) -> dict[str, str]:
    """For an incarnation: what it was really given, without what QEMU could not give it after all."""
    if cpu is None or not cpu.features:
        return {}
    try:
        lacks = _names(await monitor.execute("qom-get", {"path": FIRST_CPU, "property": "unavailable-features"}))
    except Malformed as error:
        raise HypervisorError(f"QEMU gave {error} where a guest's CPU was asked for") from error
    return cpu_notes(cpu, frozenset(lacks))


async def _answers(binary: str, accelerator: Accelerator, asked: list[dict[str, Any]]) -> list[object]:
    """What QEMU says to each, in order. It is ended only then: with its end goes what nobody has read yet."""
    machine = ("-machine", MACHINE, "-accel", str(accelerator), "-m", "16", "-cpu", "qemu64")
    command = (binary, "-nodefaults", "-no-user-config", "-display", "none", "-S", *machine, "-qmp", "stdio")
    talk = "".join(json.dumps(each) + "\n" for each in ({"execute": "qmp_capabilities"}, *asked)).encode()
    async with asyncio.timeout(ASK_S), started(command, given=True) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(talk)
        replies = await _replies(process.stdout, len(asked) + 1)
    for reply in replies:
        if "return" not in reply:
            raise Malformed("QEMU knows no CPU models")
    return [reply["return"] for reply in replies[1:]]


async def _replies(output: asyncio.StreamReader, wanted: int) -> list[dict[str, Any]]:
    """The greeting comes first, and events may come between."""
    found: list[dict[str, Any]] = []
    read = 0
    while len(found) < wanted:
        line = await output.readline()
        read += len(line)
        if not line or read > MOST_BYTES:
            raise Malformed(f"QEMU answered {len(found)} of {wanted} questions")
        reply = parse(line)
        if "return" in reply or "error" in reply:
            found.append(reply)
    return found


def _expand(name: str) -> dict[str, Any]:
    """Static: the answer has the features and nothing else that can be switched."""
    return {"execute": "query-cpu-model-expansion", "arguments": {"type": "static", "model": {"name": name}}}


def _definitions(answer: object) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Models that this host can offer whole; and others, with what they lack. Where a version of a model has the
    plain name too it is left out."""
    if not isinstance(answer, list) or len(answer) > MOST_MODELS:
        raise Malformed("no list of CPU models")
    rows = [row for row in answer if isinstance(row, dict)]
    doubled = {row.get("alias-of") for row in rows} | {"max", "host", "base"}
    able, unable = [], {}
    for row in rows:
        name = _text(row, "name")
        if name in doubled:
            continue
        lacks = tuple(_names(row.get("unavailable-features", [])))
        if lacks:
            unable[name] = lacks
        else:
            able.append(name)
    return able, unable


def _properties(answer: object) -> Mapping[str, object]:
    model = answer.get("model") if isinstance(answer, dict) else None
    found = model.get("props") if isinstance(model, dict) else None
    if not isinstance(found, dict):
        raise Malformed("a CPU model without properties")
    return found


def _features(properties: Mapping[str, object]) -> frozenset[str]:
    return frozenset(_names(name for name, value in properties.items() if value is True))


def _names(words: object) -> Iterable[str]:
    if not isinstance(words, Iterable) or isinstance(words, str):
        raise Malformed("no list of features")
    found = list(words)
    if len(found) > MOST_FEATURES or not all(isinstance(each, str) and is_feature(each) for each in found):
        raise Malformed("features with names that could not be")
    return sorted(found)


def _text(row: Mapping[str, object], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME:
        raise Malformed(f"a CPU model without a {key}")
    return value


def _number(row: Mapping[str, object], key: str) -> int:
    value = row.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Malformed(f"a CPU without a {key}")
    return value


def _written(offer: CpuOffer) -> dict[str, Any]:
    models = [[each.name, sorted(each.features), list(each.missing)] for each in offer.models]
    return {
        "vendor": offer.vendor,
        "identity": offer.identity,
        "features": sorted(offer.features),
        "models": models,
    }


def _kept(cache: Path, key: str) -> CpuOffer | None:
    try:
        said = json.loads(cache.read_text())
        if said["key"] != key:
            return None
        cpu = said["cpu"]
        models = tuple(CpuModel(name, frozenset(has), tuple(lacks)) for name, has, lacks in cpu["models"])
        return CpuOffer(str(cpu["vendor"]), str(cpu["identity"]), frozenset(cpu["features"]), models)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
