"""Where a guest's addresses are: switches believe whoever told them last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from wirt.hypervisors.qemu.driver import QemuHypervisor

from .test_contract_migration import Journey, Pair, pair

__all__ = ["pair"]


@pytest.mark.real
@pytest.mark.parametrize("pair", ["qemu qemu"], indirect=True)
async def test_a_guest_that_is_called_back_tells_the_switches_that_it_is_here(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    journey = await Journey.begin(pair, await pair.guest())
    await journey.send()
    await journey.finish()
    assert isinstance(pair.here.hypervisor, QemuHypervisor)
    monitor = pair.here.hypervisor.run(journey.started.domain).monitor
    done: list[str] = []
    execute = monitor.execute

    async def noted(command: str, arguments: Mapping[str, object] | None = None, **more: Any) -> Any:
        answer = await execute(command, arguments, **more)
        done.append(command)
        return answer

    monkeypatch.setattr(monitor, "execute", noted)
    await journey.back()
    assert done.index("cont") < done.index("announce-self")
