"""All operations by the kind that the journal names them with."""

from __future__ import annotations

from collections.abc import Mapping

from wirt.operations.conclude import CONCLUSIONS
from wirt.operations.create import CREATE, START
from wirt.operations.destroy import DESTROY
from wirt.operations.environment import Environment
from wirt.operations.image import BUILD_IMAGE
from wirt.operations.jobs.step import JobKind, Operation

OPERATIONS: Mapping[JobKind, Operation[Environment]] = {
    operation.kind: operation for operation in (CREATE, START, DESTROY, BUILD_IMAGE, *CONCLUSIONS.values())
}
