"""How the store writes things down: versioned records of their own, so that the model may change freely.

A domain's configuration is kept as its xl.cfg text: a form that people can read and that its manual page
versions.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any, TypeVar
from uuid import UUID

from wirt.config.xlcfg import load
from wirt.model.domain import Domain, Incarnation, Wanted
from wirt.model.errors import CorruptState, WirtError
from wirt.model.job import Job, JobError, JobState, StepRecord, StepState
from wirt.ports.store import Entry

T = TypeVar("T")

VERSION = 1
PREFIX = "wirt/v1"
DOMAINS = f"{PREFIX}/domains/"
NAMES = f"{PREFIX}/names/"
INCARNATIONS = f"{PREFIX}/incarnations/"
JOBS = f"{PREFIX}/jobs/"


def domain_key(uuid: UUID) -> str:
    return f"{DOMAINS}{uuid}"


def name_key(name: str) -> str:
    """Names are hex-coded: a name may hold what a key may not."""
    return f"{NAMES}{name.encode(errors='surrogateescape').hex()}"


def incarnation_key(uuid: UUID) -> str:
    return f"{INCARNATIONS}{uuid}"


def domid_key(host: str) -> str:
    return f"{PREFIX}/hosts/{host}/last-domid"


def job_key(job_id: str) -> str:
    return f"{JOBS}{job_id}"


def write_domain(domain: Domain) -> bytes:
    return _write(
        {
            "uuid": str(domain.uuid),
            "text": domain.text,
            "persistent": domain.persistent,
            "wanted": str(domain.wanted),
            "epoch": domain.epoch,
            "created_at": domain.created_at,
            "created_by": domain.created_by,
        }
    )


def read_domain(entry: Entry) -> Domain:
    def build(data: dict[str, Any]) -> Domain:
        return Domain(
            uuid=UUID(data["uuid"]),
            config=load(data["text"], file=f"store:{entry.key}", cwd=PurePosixPath("/")).config,
            text=data["text"],
            persistent=bool(data["persistent"]),
            wanted=Wanted(data["wanted"]),
            epoch=int(data["epoch"]),
            created_at=float(data["created_at"]),
            created_by=str(data["created_by"]),
            revision=entry.modified,
        )

    return _read(entry, build)


def write_incarnation(incarnation: Incarnation) -> bytes:
    """The state is not written: it is observed."""
    return _write(
        {
            "domain": str(incarnation.domain),
            "domid": incarnation.domid,
            "host": incarnation.host,
            "epoch": incarnation.epoch,
            "hypervisor": incarnation.hypervisor,
            "started_at": incarnation.started_at,
            "pid": incarnation.pid,
            "started_ticks": incarnation.started_ticks,
            "notes": incarnation.notes,
        }
    )


def read_incarnation(entry: Entry) -> Incarnation:
    def build(data: dict[str, Any]) -> Incarnation:
        return Incarnation(
            domain=UUID(data["domain"]),
            domid=int(data["domid"]),
            host=str(data["host"]),
            epoch=int(data["epoch"]),
            hypervisor=str(data["hypervisor"]),
            started_at=float(data["started_at"]),
            pid=data["pid"],
            started_ticks=data["started_ticks"],
            notes={str(key): str(value) for key, value in data["notes"].items()},
        )

    return _read(entry, build)


def write_job(job: Job) -> bytes:
    data = asdict(job)
    data["v"] = VERSION
    return json.dumps(data).encode()


def read_job(entry: Entry) -> Job:
    def build(data: dict[str, Any]) -> Job:
        steps = tuple(StepRecord(step["name"], StepState(step["state"])) for step in data.pop("steps"))
        error = data.pop("error")
        return Job(
            **{**data, "state": JobState(data["state"])},
            steps=steps,
            error=JobError(**error) if error is not None else None,
        )

    return _read(entry, build)


def write_number(number: int) -> bytes:
    return str(number).encode()


def _write(data: dict[str, Any]) -> bytes:
    return json.dumps({"v": VERSION, **data}).encode()


def _read(entry: Entry, build: Callable[[dict[str, Any]], T]) -> T:
    """``CorruptState``, naming the key, for whatever can't be understood; a newer version is told apart."""
    try:
        data = json.loads(entry.value)
        version = data.pop("v")
        if version > VERSION:
            raise CorruptState(
                f"{entry.key} was written by a newer wirt (record version {version})",
                hint="run that wirt, or restore the state of before",
            )
        return build(data)
    except CorruptState:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, WirtError) as error:
        raise CorruptState(
            f"the record {entry.key} can't be read: {error}",
            hint="nothing was changed; restore state.db from a copy, or report this",
        ) from error
