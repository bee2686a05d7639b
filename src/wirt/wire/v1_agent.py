"""The API's types about agents in guests, version 1."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class GuestInterface:
    """A network card as the guest names it. ``addresses`` are ``ADDRESS/PREFIX``."""

    name: str
    mac: str
    addresses: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class GuestAgent:
    """What a guest's agent tells of it; all of that is the guest's word. ``why`` says why none answers.
    ``commands`` are those that it carries out now."""

    domain: str
    uuid: str
    answers: bool
    why: str = ""
    version: str = ""
    system: str = ""
    kernel: str = ""
    commands: list[str] = field(default_factory=list)
    interfaces: list[GuestInterface] = field(default_factory=list)
    api: str = "v1"


@dataclass(frozen=True, slots=True)
class GuestTime:
    """The time that a guest's clock was set to, in seconds since the epoch."""

    time_s: float
    api: str = "v1"
