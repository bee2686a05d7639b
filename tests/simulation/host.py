"""One host's whole life in memory, from one seed: people, guests, faults and crashes in any order.

A seed is a bug report: the same seed does the same again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.operations.kit import SimulatedHost, config

from wirt.hypervisors.fake import DaemonDies, DaemonKilled, Die, FakeGuest, Refuse, Verb
from wirt.model.errors import WirtError
from wirt.model.lifecycle import Action, State
from wirt.operations import power, vif
from wirt.operations.create import Source, create, define
from wirt.operations.destroy import destroy, undefine
from wirt.operations.start import start

NAMES = ("ada", "bob", "cyd")
EVENTS = ("on_poweroff", "on_reboot", "on_crash", "on_watchdog")


class Life:
    """``log`` is the story so far, to be printed when an invariant breaks."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.host = SimulatedHost(directory, seed)
        self.log: list[str] = []

    async def live(self, moves: int) -> None:
        await self.host.boot()
        for _ in range(moves):
            await self._move()
        await self._calm()
        await self.host.assert_consistent()
        await self.host.stop()

    async def _move(self) -> None:
        moves: tuple[tuple[int, Callable[[], Awaitable[object]]], ...] = (
            (6, self._verb),
            (5, self._guest),
            (2, self._fault),
            (2, self._crash),
            (1, self._power_loss),
            (3, self._time),
            (3, self._look),
        )
        (move,) = self.random.choices([move for _, move in moves], [weight for weight, _ in moves])
        try:
            await move()
        except WirtError as error:
            self.log.append(f"  refused: {error}")
        except DaemonKilled:
            # A verb that was under way when the daemon died: its caller lost the connection.
            await self._reboot("it died in a verb")
        for _ in range(self.random.randrange(40)):
            await asyncio.sleep(0)

    async def _verb(self) -> None:
        environment, name = self.host.environment, self.random.choice(NAMES)
        source = Source(config(name, self._actions()), f"{name}.cfg", "/")
        verbs: dict[str, Callable[[], Awaitable[object]]] = {
            "create": lambda: create(environment, source, paused=self.random.random() < 0.2),
            "define": lambda: define(environment, source),
            "start": lambda: start(environment, name),
            "destroy": lambda: destroy(environment, name),
            "shutdown": lambda: power.shutdown(environment, name),
            "reboot": lambda: power.reboot(environment, name),
            "pause": lambda: power.pause(environment, name),
            "unpause": lambda: power.unpause(environment, name),
            "undefine": lambda: undefine(environment, name),
            "rename": lambda: power.rename(environment, name, self.random.choice(NAMES)),
            "cancel": self._cancel,
            "network-attach": lambda: vif.attach(environment, name, self._card_words()),
            "network-detach": lambda: vif.detach(environment, name, str(self.random.randrange(4))),
            "network-link": lambda: vif.set_link(
                environment, name, str(self.random.randrange(3)), up=self.random.random() < 0.5
            ),
        }
        verb = self.random.choice(list(verbs))
        self.log.append(f"{verb} {name}")
        await verbs[verb]()

    async def _cancel(self) -> None:
        jobs = [job for job in self.host.engine.all() if not job.state.finished]
        if jobs:
            await self.host.engine.cancel(self.random.choice(jobs).id)

    async def _guest(self) -> None:
        guests = [guest for guest in self.host.world.guests() if guest.observed.state is State.RUNNING]
        if guests:
            guest: FakeGuest = self.random.choice(guests)
            ends = ("power_off", "reboot", "panic", "watchdog", "vanish")
            cards = ("keep_cards", "let_cards_go", "throw_out_card")
            what = self.random.choice((*ends, *cards))
            self.log.append(f"guest {guest.name}: {what}")
            if what == "keep_cards":
                guest.lets_cards_go = not guest.lets_cards_go
            elif what == "throw_out_card":
                guest.throw_out_card(self.random.randrange(3))
            else:
                getattr(guest, what)()

    async def _fault(self) -> None:
        # Nobody asks agents here, and a fault that never comes would be for nothing.
        verb = self.random.choice([verb for verb in Verb if verb is not Verb.AGENT])
        fault = self.random.choice((Refuse(), Die(), DaemonDies(), DaemonDies(done=True)))
        self.log.append(f"fault: {fault} in the next {verb}")
        self.host.world.fail(verb, fault)

    async def _crash(self) -> None:
        await self._reboot("kill -9")

    async def _power_loss(self) -> None:
        self.host.world.lose_power()
        await self._reboot("power loss")

    async def _reboot(self, why: str) -> None:
        self.log.append(f"daemon ends: {why}")
        await self.host.crash()
        for _ in range(20):
            try:
                await self.host.boot()
            except DaemonKilled:
                self.log.append("  ... and again, while it starts")
                await self.host.crash()
            else:
                return
        raise AssertionError("the daemon does not come up")

    async def _time(self) -> None:
        await self.host.clock.advance(self.random.choice((0.5, 3.0, 40.0)))

    async def _look(self) -> None:
        """At every moment: never two live runs of one domain."""
        live = self.host.live_guests()
        assert len(live) == len(set(live)), "two runs of one domain"

    async def _calm(self) -> None:
        """No more faults; whatever is under way gets the time to end, and loops the time to mend."""
        self.host.world._faults.clear()
        await self._reboot("the last time")
        for _ in range(5):
            await self.host.clock.advance(10)
            await self.host.settle()

    def _card_words(self) -> list[str]:
        words = ("mac=00:16:3e:00:00:01", "devid=2", "mtu=1400", "net=user", "forward=tcp:22")
        return [word for word in words if self.random.random() < 0.25]

    def _actions(self) -> str:
        """What its end is to be followed by, for a few events, at random."""
        chosen = {event: self.random.choice(list(Action)) for event in EVENTS if self.random.random() < 0.5}
        return "\n".join(f'{event} = "{action}"' for event, action in chosen.items())
