"""Adapters of the :class:`wirt.ports.network.Network` port.

``host`` plugs cards into this machine: ``taps`` (a card's end in the kernel), ``bridges`` (what it is put into),
``ports`` (user-mode forwards), with ``links`` as the one place that speaks to the kernel's routing socket.
``fake`` keeps the same promises in memory.
"""

from __future__ import annotations

from wirt.network.bridges import DefaultBridge
from wirt.network.fake import FakeNetwork
from wirt.network.host import HostNetwork

__all__ = ["DefaultBridge", "FakeNetwork", "HostNetwork"]
