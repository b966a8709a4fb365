"""The machine of a relay that has several processes, which share a store.

Each of them holds the state of the whole relay, as far as it was told, and decides on top of it in
its turn only. What follows from time alone waits for a turn as well: whoever comes first does it,
and the others hear of it.
"""

from collections.abc import Sequence

from bazaar_protocol.identity import AgentId, Keypair
from bazaar_relay.machine.absorbing import Absorber
from bazaar_relay.machine.admission import Policy
from bazaar_relay.machine.events import (
    DeliverLetter,
    Effect,
    Event,
    Heard,
    ListeningElsewhere,
    Started,
    TurnBegun,
    TurnFailed,
)
from bazaar_relay.machine.machine import RelayMachine
from bazaar_relay.machine.shared_pipeline import SharedPipeline
from bazaar_relay.machine.state import Entropy
from bazaar_relay.storage.sharing import News


class SharedRelayMachine(RelayMachine):
    """One process of a relay."""

    def __init__(
        self, keys: Keypair, *, recovery: bytes, entropy: Entropy, policy: Policy | None = None
    ) -> None:
        super().__init__(keys, recovery=recovery, entropy=entropy, policy=policy)
        self._turns = self._state.turns
        self._turns.share()
        self._absorber = Absorber(
            self._state, self._receipts, self._subscriptions, self._pipeline.witness
        )

    @property
    def listening(self) -> Sequence[AgentId]:
        """Who listens at this process."""
        return self._state.adverts.listening_here

    def wake_ms(self) -> int | None:
        """Return when the next ``Tick`` is wanted; while a turn is, it brings one with it."""
        return None if self._turns.is_wanted else super().wake_ms()

    def handle(self, event: Event, now_ms: int) -> list[Effect]:
        """Advance by one event and return what to do about it, in order."""
        match event:
            case TurnBegun(news=news):
                self._absorb(news, now_ms)
                self._turns.begin()
                if self._state.own_head.seq == 0:
                    self._pipeline.begin_log(now_ms)
                self._tick(now_ms)
            case TurnFailed(reason=reason):
                self._deciding.turn_failed(reason, now_ms)
            case Heard(news=news):
                self._absorb(news, now_ms)
            case ListeningElsewhere(agents=agents):
                self._state.adverts.listen_elsewhere(agents)
            case Started():
                self._start(event, now_ms)
                self._deciding.want_turn()
            case _:
                return super().handle(event, now_ms)
        return self._finish(now_ms)

    def _make_pipeline(self) -> SharedPipeline:
        self._deciding = SharedPipeline(self._state)
        return self._deciding

    def _tick(self, now_ms: int) -> None:
        if self._turns.is_ours:
            super()._tick(now_ms)
        else:
            self._deciding.want_turn()

    def _absorb(self, news: News, now_ms: int) -> None:
        self._absorber.take(news, now_ms)
        for entry in news.entries:
            if entry.route_of is None:
                self.federation.record_kept(entry.record)
        if news.entries:
            self.cursor = max(self.cursor, news.entries[-1].cursor)
        self._pipeline.effects += self._subscriptions.collect()
        for number, letter in news.letters:
            if readers := self._readers(letter.to):
                self._do(DeliverLetter(readers, number, letter.sealed))
