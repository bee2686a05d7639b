"""The API's types of security groups, version 1. Conventions as in :mod:`wirt.wire.v1`."""

from __future__ import annotations

from dataclasses import dataclass, field

from wirt.wire.v1 import VERSION


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """``rules`` as they are written, ``in:tcp:22:from=10.0.0.0/8``; their numbers count from 1. ``domains`` and
    ``groups`` are the names of those that name it."""

    name: str
    rules: list[str] = field(default_factory=list)
    description: str = ""
    domains: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class SecurityGroupList:
    groups: list[SecurityGroup]
    api: str = VERSION


@dataclass(frozen=True, slots=True)
class SecurityGroupRequest:
    name: str
    rules: list[str] = field(default_factory=list)
    description: str = ""


@dataclass(frozen=True, slots=True)
class SecurityGroupChange:
    """``rules`` take the place of all that were there; what is ``None`` stays as it is."""

    rules: list[str] | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class AllowRequest:
    rules: list[str]


@dataclass(frozen=True, slots=True)
class RevokeRequest:
    """``rule`` is a rule, or its number."""

    rule: str
