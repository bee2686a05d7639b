"""Where backups are: directories, and pools of files. This host remembers those that it has used."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import PurePosixPath

from wirt.model.errors import BadInput, NotFound, StoreConflict, Unavailable, WirtError
from wirt.operations import records_backup
from wirt.operations.environment import Environment
from wirt.operations.pools import DEFAULT_POOL
from wirt.plan.backup import Backup
from wirt.ports.backup_store import BackupStore, KeepsFiles, Listing
from wirt.ports.backups import Backups
from wirt.ports.store import Compare, Put
from wirt.ports.threads import in_thread

LOOK_S = 30.0
TRIES = 8
IN_POOL = "backups"
"""The directory beside a pool's volumes."""


@dataclass(frozen=True, slots=True)
class Found:
    """A backup, and the place that it is in."""

    path: str
    backup: Backup


def backups(environment: Environment) -> Backups:
    if environment.backups is None:
        raise Unavailable("this host makes no backups")
    return environment.backups


async def path_of(environment: Environment, word: str | None, cwd: str) -> str:
    """Of a directory, or of a pool of files by its name; without a word of the default pool."""
    if word is None or word in environment.pools.names():
        pool = await environment.pools.open(word or DEFAULT_POOL)
        if isinstance(pool, KeepsFiles):
            return str(pool.directory / IN_POOL)
        if word is None:
            return str(PurePosixPath(environment.settings.home) / IN_POOL)
        raise BadInput(
            f"{word} is a {pool.config.type} pool, which keeps no files", hint="--to a directory, or another pool"
        )
    path = PurePosixPath(cwd) / word
    if not path.is_absolute() or "\0" in word:
        raise BadInput(f"{word!r} is neither a pool nor a directory")
    return str(path)


async def open_place(environment: Environment, path: str, *, make: bool = False) -> BackupStore:
    """``Unavailable`` if it does not answer: it may be on a server that has gone."""
    try:
        async with asyncio.timeout(LOOK_S):
            return await in_thread(None, backups(environment).stores.open, path, make=make)
    except TimeoutError as error:
        raise Unavailable(f"{path} did not answer for {LOOK_S:g} s", hint="is its server there?") from error


async def known_places(environment: Environment) -> tuple[str, ...]:
    return records_backup.read_places(await environment.store.get(records_backup.PLACES))


async def remember_place(environment: Environment, path: str) -> None:
    for _ in range(TRIES):
        entry = await environment.store.get(records_backup.PLACES)
        paths = records_backup.read_places(entry)
        if path in paths:
            return
        written = records_backup.write_places((*paths, path))
        revision = entry.modified if entry is not None else 0
        with contextlib.suppress(StoreConflict):
            await environment.store.commit(
                Put(records_backup.PLACES, written), when=(Compare(records_backup.PLACES, revision),)
            )
            return


async def list_place(environment: Environment, path: str) -> Listing:
    store = await open_place(environment, path)
    try:
        async with asyncio.timeout(LOOK_S):
            return await in_thread(None, store.all)
    except TimeoutError as error:
        raise Unavailable(f"{path} did not answer for {LOOK_S:g} s", hint="is its server there?") from error


async def list_all(environment: Environment) -> tuple[tuple[Found, ...], tuple[str, ...]]:
    """In all places that this host knows, the oldest first; and what is wrong with some."""
    found: list[Found] = []
    problems: list[str] = []
    for path in await known_places(environment):
        try:
            listing = await list_place(environment, path)
        except WirtError as error:
            problems.append(error.message)
            continue
        found += [Found(path, backup) for backup in listing.backups]
        problems += listing.problems
    return tuple(sorted(found, key=lambda each: each.backup.created_at)), tuple(problems)


async def find(environment: Environment, backup: str, path: str | None) -> Found:
    """By its ID in one place, or in all that are known."""
    if path is not None:
        store = await open_place(environment, path)
        return Found(path, await in_thread(None, store.find, backup))
    unreachable: WirtError | None = None
    for place in await known_places(environment):
        try:
            store = await open_place(environment, place)
            return Found(place, await in_thread(None, store.find, backup))
        except NotFound:
            continue
        except Unavailable as error:
            unreachable = error
    if unreachable is not None:
        raise unreachable
    raise NotFound(
        f"there is no backup {backup}", hint="wirt backup list shows those that this host knows; or --from"
    )
