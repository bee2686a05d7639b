"""A domain whose configuration was changed as text, which people write in more ways than one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from wirt.config.xlcfg import load
from wirt.model.domain import Domain, DomainConfig
from wirt.model.errors import IllegalState


def rewritten(domain: Domain, text: str, meant: DomainConfig, what: str) -> Domain:
    """``domain`` with ``text``, not yet recorded. ``IllegalState`` if that says anything else than ``meant``:
    ``what`` (a noun) can't be changed without a person."""
    config = load(text, file=domain.name, cwd=PurePosixPath("/")).config
    if config != meant:
        raise IllegalState(
            f"{what} of domain {domain.name} can't be changed safely",
            hint=f"change it by hand: wirt undefine {domain.name} and wirt define FILE",
        )
    return replace(domain, text=text, config=config)
