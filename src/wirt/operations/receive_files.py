"""What a domain that comes in starts from: found here by its content, or brought from the source."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from wirt.config.xlcfg import load, with_value
from wirt.model.domain import Domain, DomainConfig
from wirt.model.errors import BadInput
from wirt.model.migration import Remark
from wirt.operations.boot_files import content_at, named_files, with_file
from wirt.operations.environment import Environment
from wirt.operations.hearing import unless_silent
from wirt.operations.layers import layer_files
from wirt.operations.receive_streams import Intake, asked_for
from wirt.ports.boot_files import MOST_BYTES
from wirt.ports.layers import Content
from wirt.wire.v1_incoming import Offer, OfferedFile, PlacedFile

MOST_PATH = 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class PlacedFiles:
    """``domain`` names them where they are here. ``here`` is the same without those that are not here yet."""

    domain: Domain
    here: DomainConfig
    files: tuple[PlacedFile, ...]
    remarks: tuple[Remark, ...]


async def place_files(environment: Environment, offer: Offer, domain: Domain) -> PlacedFiles:
    """``BadInput``: what the source says of them can't be right."""
    here, placed, remarks = domain.config, [], []
    for file in offer.files:
        _check(file, domain.config)
        found, remark = await _place(environment, offer, file)
        placed.append(found)
        remarks += remark
        if named_files(domain.config)[file.key] != found.path:
            text = with_value(domain.text, file.key, found.path)
            config = load(text, file=f"<offer of {offer.source}>", cwd=PurePosixPath("/")).config
            domain = replace(domain, text=text, config=config)
        here = with_file(here, file.key, None if found.copied else found.path)
    return PlacedFiles(domain, here, tuple(placed), tuple(remarks))


def _check(file: OfferedFile, config: DomainConfig) -> None:
    if file.key not in named_files(config):
        raise BadInput(f"a {file.key} is offered, and the domain has none")
    path = file.path.isprintable() and file.path.startswith("/") and len(file.path) <= MOST_PATH
    if not path or not 0 < file.length <= MOST_BYTES or not _DIGEST.fullmatch(file.digest):
        raise BadInput(f"the {file.key} is offered in a way that can't be right")


async def _place(environment: Environment, offer: Offer, file: OfferedFile) -> tuple[PlacedFile, list[Remark]]:
    content, store = Content(file.length, file.digest), environment.boot_files
    there = environment.machine.missing(file.path, write=False) is None
    same = there and await content_at(environment, file.path, file.length) == content
    if store is None or same:
        return PlacedFile(file.key, file.path, file.length, copied=False), []
    remarks = []
    if there:
        what = f"{file.path} is another {file.key} on {environment.machine.name}: the domain brings its own"
        remarks.append(Remark(False, what, None))
    kept = await store.find(content)
    path = kept.path if kept is not None else store.place(content, file.path)
    return PlacedFile(file.key, path, file.length, copied=kept is None), remarks


async def bring_files(intake: Intake) -> None:
    """Those that are not here by now."""
    environment, offer = intake.context.environment, intake.offer
    for file in offer.files:
        if file.key in intake.context.job.arguments.get("files", ()):
            await unless_silent(environment, intake.attempt, offer.source, _bring(intake, file))


async def _bring(intake: Intake, file: OfferedFile) -> None:
    environment, content = intake.context.environment, Content(file.length, file.digest)
    store = environment.boot_files
    assert store is not None
    intake.attempt.tell(phase="queued")
    async with environment.incoming.bringing(f"boot {file.digest}"):
        intake.attempt.tell(phase="files")
        if await store.find(content) is not None:
            return
        part = await store.begin(content, file.path)
        try:
            async with asked_for(intake, files=[file.key]) as streams:
                channel = await streams.next(f"the {file.key}")
                await layer_files(environment).receive(part, content, channel)
            await store.keep(part, content, file.path)
        except BaseException:
            await store.remove(part)
            raise
