"""Relayed links: two nodes that can only dial out, each connected here, and what they say.

The relay passes on ciphertext and counts it. A link belongs to the two connections between which
it was opened; no other connection can say anything on it. What is under way on it is bounded by
credit, in each direction: a node sends no more than the other one has taken, but for a window.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from bazaar_protocol import frames, limits
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import RecordId
from bazaar_relay.machine.admission import Cost
from bazaar_relay.machine.carrying import Carrying, LinkPolicy
from bazaar_relay.machine.events import ConnectionId, Drop, Effect, Reply
from bazaar_relay.machine.state import RelayState
from bazaar_relay.machine.timers import Timer

FEATURE: Final = "link"
"""What a node's hello says that takes links."""

_NUMBER_BYTES: Final = 8
_CREDIT_BYTES_MIN: Final = limits.RELAYED_WINDOW_BYTES // 8
"""Less credit than this is kept until there is more of it, or nothing else is under way."""

LinkFrame: TypeAlias = (
    frames.OpenLink | frames.AcceptLink | frames.LinkData | frames.LinkCredit | frames.CloseLink
)


@dataclass(slots=True)
class _Flow:
    """One direction of a link."""

    to: ConnectionId
    credit: int = limits.RELAYED_WINDOW_BYTES
    """What may still be sent."""
    untaken: int = 0
    """What the receiver was sent and has not given credit for."""
    held: int = 0
    """Credit that the receiver gave and that the sender does not have yet."""

    @property
    def is_ready(self) -> bool:
        """Whether there is credit that is worth a frame."""
        return self.held >= _CREDIT_BYTES_MIN or (self.held > 0 and not self.untaken)


@dataclass(slots=True)
class _Link:
    number: int
    request: int
    opener: AgentId
    accepter: AgentId
    flows: dict[ConnectionId, _Flow]
    """By who sends; the opener comes first."""
    until_ms: int
    used_ms: int
    is_open: bool = False

    @property
    def timer(self) -> Timer:
        return Timer("link", RecordId(self.number.to_bytes(_NUMBER_BYTES)))


@dataclass(slots=True)
class RelayedLinks:
    """All links that are open or on offer."""

    state: RelayState
    do: Callable[[Effect], None]
    """Takes what is to be done, in order."""
    carrying: Carrying = field(default_factory=Carrying)
    _count: int = 0
    _links: dict[int, _Link] = field(default_factory=dict)
    _of_agents: dict[AgentId, int] = field(default_factory=dict)
    _of_connections: dict[ConnectionId, dict[int, None]] = field(default_factory=dict)
    _takers: dict[AgentId, dict[ConnectionId, None]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._links)

    @property
    def _policy(self) -> LinkPolicy:
        return self.state.admission.policy.carrying

    def joined(self, connection: ConnectionId, peer: AgentId, features: tuple[str, ...]) -> None:
        """Note that a node has said hello."""
        if FEATURE in features:
            self._takers.setdefault(peer, {})[connection] = None

    def left(self, connection: ConnectionId, peer: AgentId) -> None:
        """End the links of a connection that has ended."""
        takers = self._takers.get(peer, {})
        takers.pop(connection, None)
        if not takers:
            self._takers.pop(peer, None)
        for number in list(self._of_connections.get(connection, ())):
            self._end(self._links[number], "relay: the other side has left", gone=connection)

    def take(self, connection: ConnectionId, peer: AgentId, frame: LinkFrame, now_ms: int) -> None:
        """Deal with a frame about links."""
        if isinstance(frame, frames.OpenLink):
            self._open(connection, peer, frame, now_ms)
            return
        link = self._links.get(frame.link)
        if link is None or connection not in link.flows:
            self._ignore(connection, peer, frame, now_ms)
            return
        match frame:
            case frames.AcceptLink():
                self._accept(link, connection, now_ms)
            case frames.LinkData(data=data):
                self._carry(link, connection, data, now_ms)
            case frames.LinkCredit(bytes=size):
                self._give_credit(link, connection, size, now_ms)
            case frames.CloseLink(reason=reason):
                # Ours begin so, and a node must not be able to put words into our mouth.
                self._end(link, reason.removeprefix("relay:"), gone=connection)

    def due(self, timer: RecordId, now_ms: int) -> None:
        """Do what has become due for a link."""
        link = self._links.get(int.from_bytes(timer))
        if link is None:
            return
        if now_ms >= link.until_ms:
            minutes = self._policy.minutes
            self._end(link, f"relay: a link ends after {minutes} min" if link.is_open else "")
        elif link.is_open and now_ms >= link.used_ms + limits.RELAYED_IDLE_MS:
            self._end(link, "relay: nothing was sent for too long")
        else:
            self._go_on(link, now_ms)

    def _open(
        self, connection: ConnectionId, peer: AgentId, frame: frames.OpenLink, now_ms: int
    ) -> None:
        to = AgentId(frame.to)
        code, reason = self._refusal(peer, to, now_ms)
        taker = next(reversed(self._takers.get(to, {})), None)
        if not code and taker is None:
            code, reason = "not-found", "it is not connected here, or takes no links"
        if code or taker is None:
            self.do(Reply(connection, frames.Error(frame.request, code, reason)))
            return
        self._count += 1
        flows = {connection: _Flow(taker), taker: _Flow(connection)}
        until_ms = now_ms + limits.RELAYED_OFFER_MS
        link = _Link(self._count, frame.request, peer, to, flows, until_ms, now_ms)
        self._links[link.number] = link
        for agent in (peer, to):
            self._of_agents[agent] = self._of_agents.get(agent, 0) + 1
        for one in flows:
            self._of_connections.setdefault(one, {})[link.number] = None
        self.state.timers.set(link.timer, until_ms)
        self.do(Reply(taker, frames.LinkOffered(link.number, peer)))

    def _refusal(self, opener: AgentId, to: AgentId, now_ms: int) -> tuple[str, str]:
        """Return the code and the reason of why a link is not opened; empty if it is."""
        policy = self._policy
        if not policy.links:
            return "unsupported", "this relay carries no links"
        if opener == to:
            return "refused", "a link to oneself"
        if self.state.is_strange(opener, now_ms):
            code, _, reason = self.state.gate.refusal(now_ms).partition(": ")
            return code, reason
        reason = self.carrying.open_refusal(opener, now_ms)
        if not reason and len(self._links) >= policy.links_all:
            reason = f"{policy.links_all} links are open, and no more can be"
        if not reason and self._of_agents.get(opener, 0) >= policy.links:
            reason = f"at most {policy.links} links for one agent"
        # Half of them are for those with whom it trades, however many others want one.
        is_partner = self.state.mailboxes.are_partners(opener, to)
        share = policy.links if is_partner else max(1, policy.links // 2)
        if not reason and self._of_agents.get(to, 0) >= share:
            reason = "it has as many links as it may"
        if not reason and not is_partner:
            reason = self.carrying.offer_refusal(to, now_ms)
        return ("rate-limited", reason) if reason else ("", "")

    def _accept(self, link: _Link, connection: ConnectionId, now_ms: int) -> None:
        opener, accepter = link.flows
        if connection != accepter or link.is_open:
            self._drop(connection, "there is nothing to accept")
            return
        link.is_open = True
        link.used_ms = now_ms
        link.until_ms = now_ms + self._policy.minutes * limits.MINUTE_MS
        self.do(Reply(opener, frames.LinkOpened(link.request, link.number)))
        self._arm(link)

    def _carry(self, link: _Link, sender: ConnectionId, data: bytes, now_ms: int) -> None:
        flow = link.flows[sender]
        cost = len(data) + limits.RELAYED_FRAME_BYTES
        if not link.is_open or cost > flow.credit:
            self._drop(sender, "more was sent on a link than there was credit for")
            return
        reason = self.carrying.carry(link.opener, cost, self._policy, now_ms)
        if reason:
            self._end(link, f"relay: {reason}")
            return
        flow.credit -= cost
        flow.untaken += cost
        link.used_ms = now_ms
        self.do(Reply(flow.to, frames.LinkData(link.number, data)))

    def _give_credit(self, link: _Link, receiver: ConnectionId, size: int, now_ms: int) -> None:
        (flow,) = (flow for flow in link.flows.values() if flow.to == receiver)
        if size > flow.untaken:
            self._drop(receiver, "credit on a link for what was never sent")
            return
        flow.untaken -= size
        flow.held += size
        link.used_ms = now_ms
        self._go_on(link, now_ms)

    def _go_on(self, link: _Link, now_ms: int) -> None:
        """Pass credit on as far as what was carried is paid for."""
        if now_ms >= self.carrying.paid_ms(link.opener):
            for sender, flow in link.flows.items():
                if flow.is_ready:
                    size, flow.held = flow.held, 0
                    flow.credit += size
                    self.do(Reply(sender, frames.LinkCredit(link.number, size)))
        self._arm(link)

    def _arm(self, link: _Link) -> None:
        due_ms = min(link.until_ms, link.used_ms + limits.RELAYED_IDLE_MS)
        if any(flow.is_ready for flow in link.flows.values()):
            due_ms = min(due_ms, self.carrying.paid_ms(link.opener))
        self.state.timers.set(link.timer, due_ms)

    def _end(self, link: _Link, reason: str, *, gone: ConnectionId | None = None) -> None:
        """Forget a link and tell those of its ends that do not know."""
        opener, _ = link.flows
        del self._links[link.number]
        self.state.timers.cancel(link.timer)
        for agent in (link.opener, link.accepter):
            self._of_agents[agent] -= 1
            if not self._of_agents[agent]:
                del self._of_agents[agent]
        for one in link.flows:
            del self._of_connections[one][link.number]
            if not self._of_connections[one]:
                del self._of_connections[one]
            if one == opener and not link.is_open:  # its request is answered in any case
                why = reason or "it did not answer"
                self.do(Reply(one, frames.Error(link.request, "refused", why)))
            elif one != gone:
                self.do(Reply(one, frames.CloseLink(link.number, reason)))

    def _ignore(
        self, connection: ConnectionId, peer: AgentId, frame: LinkFrame, now_ms: int
    ) -> None:
        """Let a frame be that is about a link which is over, as long as there are few of them."""
        size = len(frame.data) if isinstance(frame, frames.LinkData) else 0
        reason = self.state.admission.take(self.state.caller(peer), Cost(1, size), now_ms)
        if reason:
            self.do(Drop(connection, "rate-limited", reason))

    def _drop(self, connection: ConnectionId, reason: str) -> None:
        self.do(Drop(connection, "malformed", reason))
