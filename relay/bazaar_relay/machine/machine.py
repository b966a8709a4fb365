"""The relay as a pure machine: events in, effects out; no clock, no socket, no disk, no chance.

The shell of ``service`` drives it in a real relay, and a simulation may drive it by itself. The
machine is the same, and so are its effects for the same events: nothing depends on hash order.
"""

from typing import Final, assert_never

from bazaar_protocol import frames
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.kinds import Advert
from bazaar_protocol.peering_frames import Compare, Forward, GetHeads, GetLogs, GetLoose, Here
from bazaar_protocol.records import RecordId
from bazaar_relay.machine.admission import Cost, Policy, cost_of, network_of
from bazaar_relay.machine.events import (
    CommitFailed,
    Committed,
    Connected,
    ConnectionId,
    DeliverLetter,
    Disconnected,
    Drop,
    Effect,
    Event,
    Forwarded,
    Greet,
    Heard,
    ListeningElsewhere,
    PolicyChanged,
    Pulled,
    ReadDone,
    ReadFailed,
    Received,
    Replay,
    Reply,
    Serve,
    Started,
    Tick,
    TurnBegun,
    TurnFailed,
    Verified,
)
from bazaar_relay.machine.federation import Federation
from bazaar_relay.machine.pipeline import Pipeline
from bazaar_relay.machine.receipts import Receipts
from bazaar_relay.machine.relayed_links import RelayedLinks
from bazaar_relay.machine.resuming import resume
from bazaar_relay.machine.state import Entropy, RelayState
from bazaar_relay.machine.subscriptions import Subscriptions
from bazaar_relay.machine.timers import Timer
from bazaar_relay.storage.store import Kept, Stored

_ADVERTS_PER_RECORD: Final = 16
"""Ranking so many adverts costs about as much as taking in one record."""


_NOT_SERVED: Final = "this relay does not serve you"


class RelayMachine:
    """One relay.

    Args:
        keys: Its identity.
        recovery: Hash of its recovery key, for the first entry of its log.
        entropy: Returns 32 fresh random bytes at each call; used to seal the letters that answer
            heartbeats, for nothing else. A simulation passes a seeded source.
        policy: What the operator decides.

    """

    def __init__(
        self, keys: Keypair, *, recovery: bytes, entropy: Entropy, policy: Policy | None = None
    ) -> None:
        self.cursor = 0
        """The newest cursor of the store, as far as this machine was told."""
        self._state = RelayState(keys, entropy, policy or Policy())
        self._state.recovery = recovery
        self._pipeline = self._make_pipeline()
        self._receipts = Receipts(self._state)
        self._subscriptions = Subscriptions(self._state.origins)
        self.relayed = RelayedLinks(self._state, self._do)
        self.federation = Federation(self._state, self._pipeline, self._do, self._listens)
        self._peers: dict[ConnectionId, AgentId] = {}
        self._networks: dict[ConnectionId, str] = {}
        self._greeted: dict[ConnectionId, None] = {}
        self._connections: dict[AgentId, dict[ConnectionId, None]] = {}

    @property
    def is_idle(self) -> bool:
        """Whether nothing that was taken in is waiting for its answer."""
        return self._pipeline.is_idle

    @property
    def sizes(self) -> dict[str, int]:
        """How much is held of what, for metrics."""
        return {
            "adverts": len(self._state.adverts),
            "open_posts": len(self._state.router),
            "tasks": len(self._state.tasks),
            "subscriptions": len(self._subscriptions),
            "connections": len(self._peers),
            "relayed_links": len(self.relayed),
        }

    def has_greeted(self, connection: ConnectionId) -> bool:
        """Tell whether ``connection`` has said hello, so that its requests are answered."""
        return connection in self._greeted

    def is_strange(self, peer: AgentId, now_ms: int) -> bool:
        """Tell whether others go first: nothing is known of this peer, as far as is in memory."""
        return self._state.is_strange(peer, now_ms)

    def work_bits(self, now_ms: int) -> int:
        """Return how much work a stranger is asked for; 0 for none."""
        return self._state.gate.difficulty.target(now_ms)

    def wake_ms(self) -> int | None:
        """Return when the next ``Tick`` is wanted, if any is."""
        return self._state.timers.wake_ms()

    def handle(self, event: Event, now_ms: int) -> list[Effect]:
        """Advance by one event and return what to do about it, in order."""
        match event:
            case Received():
                self._receive(event, now_ms)
            case Verified() | ReadDone() | ReadFailed() | CommitFailed() | Pulled() | Forwarded():
                self._pipeline.take(event, now_ms)
            case Committed(kept=kept):
                self._committed(kept, now_ms)
            case Tick():
                self._tick(now_ms)
            case Connected():
                self._connect(event)
            case Disconnected(connection=connection):
                self._disconnect(connection)
            case Started():
                self._start(event, now_ms)
            case PolicyChanged(policy=policy):
                self._change_policy(policy)
            case TurnBegun() | TurnFailed() | Heard() | ListeningElsewhere():
                raise AssertionError("a relay of one process has no others")
            case _:
                assert_never(event)
        return self._finish(now_ms)

    def _finish(self, now_ms: int) -> list[Effect]:
        self._pipeline.pump(now_ms)
        effects, self._pipeline.effects = self._pipeline.effects, []
        return effects

    def _listens(self, agent: AgentId) -> bool:
        return any(map(self._subscriptions.has, self._connections.get(agent, ())))

    def _make_pipeline(self) -> Pipeline:
        return Pipeline(self._state)

    def _do(self, effect: Effect) -> None:
        self._pipeline.effects.append(effect)

    def _start(self, started: Started, now_ms: int) -> None:
        state = self._state
        self.cursor = started.cursor
        state.own_head = started.head
        self.federation.logs = started.logs
        if started.cursor:
            state.recent.begin(now_ms)
        if started.head.seq == 0 and state.turns.is_ours:
            self._pipeline.begin_log(now_ms)
        for record in started.adverts:
            advert = record.body
            if isinstance(advert, Advert) and advert.version > state.adverts.version(record.author):
                state.adverts.put(record, advert)
                lives_until_ms = min(record.time_ms, now_ms) + advert.expires_in_ms
                state.timers.set(Timer("advert", record.author), lives_until_ms)
        for cursor, record_id in started.uncovered:
            self._receipts.add(cursor, record_id)
        self._receipts.sign_full(now_ms)
        for resumed in started.tasks:
            resume(state, resumed, now_ms)

    def _connect(self, connected: Connected) -> None:
        connection, peer = connected.connection, connected.peer
        policy = self._state.admission.policy
        self._peers[connection] = peer
        self._networks[connection] = network_of(connected.address)
        links = self._connections.setdefault(peer, {})
        links[connection] = None
        if len(links) > policy.links:
            # The oldest of those not told to go yet: it may be one whose other end is long gone.
            oldest = list(links)[-policy.links - 1]
            self._do(Drop(oldest, "rate-limited", "you have opened newer links"))
        if not policy.serves(peer):
            self._do(Drop(connection, "blocked", _NOT_SERVED))

    def _change_policy(self, policy: Policy) -> None:
        self._state.set_policy(policy)
        for connection, peer in self._peers.items():
            if not policy.serves(peer):
                self._do(Drop(connection, "blocked", _NOT_SERVED))

    def _disconnect(self, connection: ConnectionId) -> None:
        peer = self._peers.pop(connection)
        self.relayed.left(connection, peer)
        del self._networks[connection]
        self._greeted.pop(connection, None)
        self._subscriptions.remove(connection)
        del self._connections[peer][connection]
        if not self._listens(peer):
            self._state.adverts.left(peer)
        if not self._connections[peer]:
            del self._connections[peer]

    def _receive(self, event: Received, now_ms: int) -> None:
        connection, frame = event.connection, event.frame
        peer = self._peers.get(connection)
        if peer is None:
            return  # it was sent before its link ended
        if isinstance(frame, frames.Hello):
            self._greet(connection, frame)
        elif connection not in self._greeted:
            self._do(Drop(connection, "malformed", "a link begins with hello"))
        else:
            self._serve(connection, peer, frame, now_ms)

    def _greet(self, connection: ConnectionId, hello: frames.Hello) -> None:
        if connection in self._greeted:
            self._do(Drop(connection, "malformed", "a link has one hello"))
        elif hello.version != frames.VERSION:
            reason = f"this relay speaks version {frames.VERSION}, not {hello.version}"
            self._do(Drop(connection, "version", reason))
        else:
            self._greeted[connection] = None
            self.relayed.joined(connection, self._peers[connection], hello.features)
            self._do(Greet(connection))

    def _serve(
        self, connection: ConnectionId, peer: AgentId, frame: frames.ToRelay, now_ms: int
    ) -> None:
        match frame:
            case frames.Publish() | frames.Claim() | frames.Mail() | frames.Collect():
                self._write(connection, peer, frame, now_ms)
            case frames.Subscribe():
                self._subscribe(connection, peer, frame, now_ms)
            case frames.Query():
                self._search(connection, frame, now_ms)
            case (
                frames.GetLog()
                | frames.GetHead()
                | frames.GetTask()
                | frames.GetInclusion()
                | frames.GetStatement()
            ):
                self._do(Serve(connection, frame))
            case frames.Ping():
                self._do(Reply(connection, frames.Pong(frame.request)))
            case Compare() | GetHeads() | GetLogs() | GetLoose() | Here() | Forward():
                cost = Cost(1 + len(frame.ranges) if isinstance(frame, Compare) else 0)
                reason = self._take(connection, cost, now_ms)
                if reason:
                    self._do(Drop(connection, "rate-limited", reason))
                else:
                    self.federation.take(connection, peer, frame)
            case (
                frames.OpenLink()
                | frames.AcceptLink()
                | frames.LinkData()
                | frames.LinkCredit()
                | frames.CloseLink()
            ):
                self.relayed.take(connection, peer, frame, now_ms)
            case frames.Hello():
                raise AssertionError("it was dealt with before")
            case _:
                assert_never(frame)

    def _subscribe(
        self, connection: ConnectionId, peer: AgentId, frame: frames.Subscribe, now_ms: int
    ) -> None:
        reason = self._take(connection, cost_of(frame), now_ms)
        if reason:
            self._do(Drop(connection, "rate-limited", reason))
            return
        subscriptions_max = self._state.admission.policy.subscriptions
        others = [one for one in self._connections[peer] if one != connection]
        if sum(map(self._subscriptions.has, others)) >= subscriptions_max:
            reason = f"at most {subscriptions_max} subscriptions at a time"
            self._do(Drop(connection, "blocked", reason))
            return
        is_peer = peer in self._state.admission.policy.peers
        self._subscriptions.set(connection, frame.filters, peer if is_peer else None)
        self._state.adverts.listens(peer)
        self.federation.listens_here(peer)
        self._do(Replay(connection, peer, frame.request, frame.filters, frame.since))

    def _search(self, connection: ConnectionId, query: frames.Query, now_ms: int) -> None:
        adverts = self._state.adverts
        cost = Cost(1 + adverts.count(query) // _ADVERTS_PER_RECORD)
        reason = self._take(connection, cost, now_ms)
        if reason:
            self._do(Reply(connection, frames.Error(query.request, "rate-limited", reason)))
            return
        records, after = adverts.search(query)
        self._do(Reply(connection, frames.Adverts(query.request, tuple(records), after)))

    def _take(
        self, connection: ConnectionId, cost: Cost, now_ms: int, *, is_strange: bool = False
    ) -> str:
        peer, address = self._peers[connection], self._networks[connection]
        caller = self._state.caller(peer, address, is_strange=is_strange)
        return self._state.admission.take(caller, cost, now_ms)

    def _write(
        self,
        connection: ConnectionId,
        peer: AgentId,
        frame: frames.Publish | frames.Claim | frames.Mail | frames.Collect,
        now_ms: int,
    ) -> None:
        is_strange = self._state.is_strange(peer, now_ms)
        reason = self._take(connection, cost_of(frame), now_ms, is_strange=is_strange)
        if reason:
            if isinstance(frame, frames.Publish):
                statuses = (f"rate-limited: {reason}",) * len(frame.records)
                self._do(Reply(connection, frames.Published(frame.request, statuses)))
            else:
                error = frames.Error(frame.request, "rate-limited", reason)
                self._do(Reply(connection, error))
            return
        match frame:
            case frames.Publish():
                self._pipeline.publish(connection, peer, frame, now_ms)
            case frames.Claim():
                self._pipeline.claim(connection, peer, frame)
            case frames.Mail():
                self._pipeline.mail(connection, peer, frame)
            case frames.Collect():
                self._pipeline.collect(connection, peer, frame)

    def _committed(self, kept: Kept, now_ms: int) -> None:
        group = self._pipeline.committed()
        self._pipeline.pump(now_ms)  # the next commit runs while this one is told of
        for new, is_silent, cursor in zip(group.records, group.silent, kept.cursors, strict=True):
            if cursor is None:
                continue
            self.cursor = max(self.cursor, cursor)
            self.federation.record_kept(new.record)
            if new.record.author != self._state.me:
                is_due = self.federation.wants_receipt(new.record)
                self._receipts.add(cursor, new.record.id, is_due=is_due)
            if not is_silent:
                stored = Stored(cursor, new.record.raw)
                self._subscriptions.publish(stored, new.record, new.audience)
        for post, (_, agent), routed in zip(group.routed, group.routes, kept.routes, strict=True):
            # An older cursor is one that the agent was told of; news must go up in cursors.
            if routed is not None and routed.cursor > self.cursor:
                self.cursor = routed.cursor
                self._subscriptions.route(routed, post, agent)
        self._receipts.sign_full(now_ms)
        self._pipeline.effects += self._subscriptions.collect()
        for letter, number in zip(group.letters, kept.letters, strict=True):
            if readers := self._readers(letter.to):
                self._do(DeliverLetter(readers, number, letter.sealed))
            else:
                self.federation.letter_kept(letter.to)

    def _readers(self, agent: AgentId) -> tuple[ConnectionId, ...]:
        links = self._connections.get(agent, ())
        return tuple(link for link in links if self._subscriptions.has(link))

    def _tick(self, now_ms: int) -> None:
        state = self._state
        for timer in state.timers.pop_due(now_ms):
            match timer.what:
                case "advert":
                    state.adverts.remove(AgentId(timer.about))
                case "post":
                    state.router.drop(RecordId(timer.about))
                case "wake":
                    post = RecordId(timer.about)
                    state.offer(post, state.router.wake_next(post, now_ms), now_ms)
                case "task":
                    self._pipeline.look_at(RecordId(timer.about))
                case "intake":
                    self._receipts.sign_rest(now_ms)
                case "link":
                    self.relayed.due(RecordId(timer.about), now_ms)
                case "silence":
                    self._pipeline.witness.due(RecordId(timer.about), now_ms)
