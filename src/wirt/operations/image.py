"""``wirt image build``: a guest image made from the distribution's packages."""

from __future__ import annotations

from dataclasses import asdict

from wirt.model.errors import NotFound
from wirt.model.job import Job, Recovery
from wirt.operations.environment import Environment
from wirt.operations.jobs.step import JobKind, Operation, Step, nothing_to_undo
from wirt.operations.running import EnvContext


async def build_image(environment: Environment, name: str) -> Job:
    if name not in environment.images.recipes():
        known = ", ".join(environment.images.recipes())
        raise NotFound(f"there is no recipe for an image called {name}", hint=f"there is: {known}")
    return await environment.jobs.submit(JobKind.BUILD_IMAGE, f"image {name}", {"image": name})


async def _build(context: EnvContext) -> None:
    """The builder itself leaves nothing half-made behind, so there is nothing here to undo."""
    image = await context.environment.images.build(context.job.arguments["image"], context.progress)
    await context.note(result=asdict(image))


_STEPS = (Step("build", _build, nothing_to_undo, interruptible=True),)

BUILD_IMAGE = Operation(JobKind.BUILD_IMAGE, _STEPS, recovery=Recovery.UNDO)
