"""Routes about the host, its jobs, its images, and the table of keys."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Response

import wirt
from wirt.api import convert
from wirt.api.jobs import job_reply
from wirt.api.reply import reply
from wirt.config.xlcfg import KEYS
from wirt.model.errors import NotFound
from wirt.model.units import MIB
from wirt.operations import backing, image, memory_about, networks_upkeep, refresh, scheduling
from wirt.operations.environment import Environment
from wirt.wire import v1


@dataclass(frozen=True, slots=True)
class JobList:
    jobs: list[v1.Job]


@dataclass(frozen=True, slots=True)
class Accepted:
    """``image``: its real path."""

    image: str


@dataclass(frozen=True, slots=True)
class KeyList:
    keys: list[v1.Key]


def router(environment: Environment) -> APIRouter:
    routes = APIRouter(prefix="/v1")
    _host(routes, environment)
    _jobs(routes, environment)
    _images(routes, environment)
    return routes


def _host(routes: APIRouter, environment: Environment) -> None:
    started = environment.clock.monotonic()

    @routes.get("/info", response_model=v1.Info, tags=["host"])
    async def info() -> Response:
        facts, now = await environment.hypervisor.facts(), environment.machine.now()
        bridged = environment.network.can_bridge()
        claims = await environment.sandbox.claims() if environment.sandbox is not None else ()
        return reply(
            v1.Info(
                host=environment.machine.name,
                release=now.release,
                machine=now.architecture,
                nr_cpus=now.cpus,
                total_memory=now.memory_bytes // MIB,
                free_memory=now.available_bytes // MIB,
                wirt_version=wirt.__version__,
                hypervisor=facts.name,
                hypervisor_version=".".join(str(part) for part in facts.version),
                accelerator=str(facts.accelerator),
                accelerator_reason=facts.accelerator_reason,
                guest_types=sorted(facts.guest_types),
                networking="bridge" if bridged else "user",
                home=environment.settings.home,
                daemon_pid=os.getpid(),
                daemon_uptime_s=round(environment.clock.monotonic() - started, 3),
                notes=[
                    *facts.notes,
                    *refresh.notes(environment),
                    *scheduling.notes(environment),
                    *networks_upkeep.notes(environment),
                    *(environment.peers.troubles if environment.peers is not None else ()),
                ],
                scheduling=scheduling.mechanism(environment),
                memory=memory_about.about(environment),
                sandbox=[v1.Claim(claim.name, claim.holds, claim.sentence) for claim in claims],
            )
        )

    @routes.get("/keys", response_model=KeyList, tags=["host"])
    async def keys() -> Response:
        return reply(KeyList([convert.key(key) for key in KEYS.values()]))


def _jobs(routes: APIRouter, environment: Environment) -> None:
    @routes.get("/jobs", response_model=JobList, tags=["jobs"])
    async def jobs() -> Response:
        return reply(JobList([convert.job(job) for job in environment.jobs.all()]))

    @routes.get("/jobs/{job_id}", response_model=v1.Job, tags=["jobs"])
    async def job(
        job_id: str, wait_s: Annotated[float, Query(ge=0, le=60)] = 0, progress: float = -1.0
    ) -> Response:
        """With ``wait_s``: once its progress differs from ``progress``, or it has finished, or time is up."""
        found = environment.jobs.get(job_id)
        try:
            async with asyncio.timeout(wait_s):
                while wait_s and not found.state.finished and found.progress == progress:
                    found = await environment.jobs.wait_change(found)
        except TimeoutError:
            found = environment.jobs.get(job_id)
        return reply(convert.job(found))

    @routes.post("/jobs/{job_id}/cancel", response_model=v1.Job, tags=["jobs"])
    async def cancel(job_id: str) -> Response:
        return reply(convert.job(await environment.jobs.cancel(job_id)))


def _images(routes: APIRouter, environment: Environment) -> None:
    @routes.get("/images", tags=["images"])
    async def images() -> Response:
        return reply({"images": environment.images.finished()})

    @routes.post("/images/{name}", response_model=v1.Job, tags=["images"])
    async def build(name: str, wait: bool = False) -> Response:
        job = await image.build_image(environment, name)
        return await job_reply(environment, job, wait)

    @routes.post("/backing/accept", response_model=Accepted, tags=["images"])
    async def accept(request: Accepted) -> Response:
        await backing.accept(environment, request.image)
        return reply(request)

    @routes.get("/images/{name}", tags=["images"])
    async def show(name: str) -> Response:
        for found in environment.images.finished():
            if found.name == name:
                return reply(found)
        raise NotFound(f"there is no image {name} yet", hint=f"wirt image build {name}")
