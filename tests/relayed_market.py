"""A market of pure agents around the machine of a real relay, which sequences their claims."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from tests.relay_driver import RELAY, Driver
from tests.routed_market import RoutedMarket

from bazaar_node.market.events import (
    Action,
    Arrived,
    ClaimRefused,
    ClaimTask,
    LetterArrived,
    RefusedByRelay,
    Ticked,
)
from bazaar_protocol import frames, letters
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import Record, RecordId, unseal
from bazaar_protocol.sealing import open_sealed
from bazaar_relay.machine.events import Connected, ConnectionId, Received, Tick

T = TypeVar("T")


class RelayedMarket(RoutedMarket):
    """Carries records through a relay's machine, whose store outlasts its crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.relay = RELAY.agent
        self._loop = asyncio.new_event_loop()
        self.driver = self._run(Driver(now_ms=self.now_ms).start())
        self._claims: list[tuple[str, RecordId]] = []

    def close(self) -> None:
        self._loop.close()

    def open(self) -> None:
        """Connect all traders, and show what they offer."""
        self._connect()
        for name, trader in self.traders.items():
            self._carry(name, trader.log[0])
            self._carry(name, trader.agent.advert(
                name=name, relays=(), expires_in_ms=3_600_000, now_ms=self.now_ms
            ))  # fmt: skip
        self.settle()

    def crash_relay(self) -> None:
        """Let the relay forget what is not durable."""
        self.driver = self._run(Driver(store=self.driver.store, now_ms=self.now_ms).start())
        self._connect()

    def wait(self, seconds: float) -> None:
        end = self.now_ms + round(seconds * 1000)
        while True:
            moments = [(one.agent.wake_ms(), name) for name, one in self.traders.items()]
            moments.append((self.driver.machine.wake_ms(), ""))
            known = [(moment, name) for moment, name in moments if moment is not None]
            moment, name = min(known, default=(end + 1, ""))
            self.now_ms = self.driver.now_ms = min(max(self.now_ms, moment), end)
            if moment > end:
                return
            if name:
                self.tell(name, Ticked())
            else:
                self._run(self.driver.handle(Tick()))
                self._pass_on("", None)
            self.settle()

    def settle(self) -> None:
        super().settle()
        while self._claims:
            held = [one for one in self._claims if self.traders[one[0]].is_cut_off]
            asked = [one for one in self._claims if one not in held]
            self._claims = held
            if not asked:
                return
            for name, task in asked:
                self._claim(name, task)
            super().settle()

    def _claim(self, name: str, task: RecordId) -> None:
        agent = self.traders[name].agent
        if not agent.has_to_ask(task):
            return
        if agent.slots_free == 0:
            self.tell(name, ClaimRefused(task, "busy"))
            return
        self._send(name, frames.Claim(2, task))
        self._pass_on(name, None)

    def _carry(self, sender: str, record: Record) -> None:
        self._send(sender, frames.Publish(1, (record.raw,)))
        self._pass_on(sender, record)

    def _pass_on(self, sender: str, record: Record | None) -> None:
        """Hand on all that the relay has said."""
        said, self.driver.said = self.driver.said, []
        for agent, one in said:
            name = self._name(agent)
            match one:
                case Record():
                    self._hand(name, Arrived(one))
                case frames.Letter(_, sealed):
                    author, content = open_sealed(self.traders[name].keys, sealed)
                    self._hand(name, LetterArrived(author, letters.decode_letter(content)))
                case frames.Published(_, (status,)) if record is not None and record.seq:
                    if status not in {"accepted", "duplicate"} and hasattr(record.body, "task"):
                        self._hand(sender, RefusedByRelay(record, status))
                case frames.Claimed(_, raw):
                    self._hand(name, Arrived(unseal(raw)))
                case frames.Error(2, code):
                    task = self._asked
                    self._hand(name, ClaimRefused(task, code))
                case _:
                    pass

    def _act(self, name: str, action: Action) -> None:
        if isinstance(action, ClaimTask):
            if (name, action.task) not in self._claims:
                self._claims.append((name, action.task))
        else:
            super()._act(name, action)

    def _connect(self) -> None:
        for number, trader in enumerate(self.traders.values(), start=1):
            agent = trader.keys.agent
            self.driver.links[agent] = ConnectionId(number)
            self._run(self.driver.handle(Connected(ConnectionId(number), agent)))
            for frame in (
                frames.Hello(frames.VERSION, "", ()),
                frames.Subscribe(0, (Filter(to=(agent,)),), 0),
            ):
                self._send_as(agent, frame)

    def _send(self, name: str, frame: frames.ToRelay) -> None:
        if isinstance(frame, frames.Claim):
            self._asked = RecordId(frame.task)
        self._send_as(self.traders[name].keys.agent, frame)

    def _send_as(self, agent: AgentId, frame: frames.ToRelay) -> None:
        self._run(self.driver.handle(Received(self.driver.links[agent], frame)))

    def _run(self, doing: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(doing)
