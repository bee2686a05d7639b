"""The API's types of templates and clones, version 1."""

from __future__ import annotations

from dataclasses import dataclass, field

from wirt.wire.v1 import VERSION


@dataclass(frozen=True, slots=True)
class TemplateRequest:
    """``domain`` is off; it is a template from then on, called ``name`` if that is given."""

    domain: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """``volumes`` stay as they are; ``clones`` are those that stand on them. ``config`` is its xl.cfg, of one that
    was asked for by itself."""

    name: str
    uuid: str
    type: str
    memory_mib: int
    vcpus: int
    volumes: list[str]
    clones: list[str]
    created_at: float
    config: str | None = None
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class TemplateList:
    templates: list[Template]
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class CloneRequest:
    """Without ``count`` one clone called ``new``, else ``new-1`` to ``new-COUNT``. ``linked``: null for what is
    best for the source (linked for a template whose pool can). ``pool``: of the new volumes, if not the source's.
    ``identity``: give each a seed by which cloud-init makes it another guest; ``ssh_keys`` (public ones, a line
    each) and ``user_data`` (cloud-init's) go into that. The job's result has ``domains`` (name, uuid), ``linked``,
    ``seeds``, and ``lost``: what of the source's cards only one card can have, and was not copied."""

    source: str
    new: str
    count: int | None = None
    linked: bool | None = None
    pool: str | None = None
    identity: bool = True
    ssh_keys: list[str] = field(default_factory=list)
    user_data: str | None = None
