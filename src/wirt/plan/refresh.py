"""What keeps a guest from going on in another process of the same host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wirt.model.devices import VifKind, devids
from wirt.model.domain import DomainConfig


@dataclass(frozen=True, slots=True)
class Refusal:
    what: str
    remedy: str


def refusal(name: str, config: DomainConfig, notes: Mapping[str, str]) -> Refusal | None:
    """``notes`` are the run's, which tell of the cards that it really has."""
    for index, vif in zip(devids(config.vifs), config.vifs, strict=True):
        if f"kind.{index}" not in notes or f"leaving.{index}" in notes:
            return Refusal(
                f"domain {name} does without its card {index}, and the new run would have it",
                f"wirt network-detach {name} {index} takes it out of the configuration",
            )
        if vif.vifname is not None and notes[f"kind.{index}"] == VifKind.BRIDGE:
            return Refusal(
                f"card {index} of domain {name} has a name of its own, {vif.vifname}, and two can't have it",
                f"wirt network-detach {name} {index}, refresh, and attach it again; or leave vifname= out",
            )
    return None


def kept_notes(notes: Mapping[str, str], kept: tuple[str, ...]) -> dict[str, str]:
    """Of an old run's notes those that are about the guest, and not about the process: cables that are out, and
    what is named in ``kept``."""
    return {key: value for key, value in notes.items() if key.startswith("link.") or key in kept}
