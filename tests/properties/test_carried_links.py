"""Relayed links at a relay, whatever nodes say in whatever order: nothing leaks, nothing grows."""

from collections import Counter
from typing import Any

from hypothesis import given, strategies as st
from tests.relay_driver import RELAY

from bazaar_protocol import frames, limits
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.log import Head
from bazaar_protocol.records import RecordId
from bazaar_relay.machine.admission import Policy
from bazaar_relay.machine.carrying import LinkPolicy
from bazaar_relay.machine.events import (
    Connected,
    ConnectionId,
    Disconnected,
    Drop,
    Effect,
    Event,
    Received,
    Reply,
    Started,
    Tick,
)
from bazaar_relay.machine.machine import RelayMachine

AGENTS = [Keypair.from_name(f"agent {number}").agent for number in range(3)]
POLICY = Policy(carrying=LinkPolicy(links=3, links_all=4, bytes_per_s=limits.MIB, minutes=1))
NUMBERS = st.integers(0, 6)
FRAMES: st.SearchStrategy[Any] = st.one_of(
    st.builds(frames.OpenLink, st.just(1), st.sampled_from(AGENTS)),
    st.builds(frames.AcceptLink, NUMBERS),
    st.builds(frames.LinkData, NUMBERS, st.sampled_from([b"x", bytes(60_000), bytes(65_535)])),
    st.builds(frames.LinkCredit, NUMBERS, st.sampled_from([1, 1025, 61_024, 262_144])),
    st.builds(frames.CloseLink, NUMBERS, st.just("over")),
)
STEPS = st.one_of(
    st.tuples(st.just("open"), st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.just("use"), st.integers(0, 7), st.sampled_from(["send", "credit", "close"])),
    st.tuples(st.just("use"), st.integers(0, 7), st.sampled_from(["send", "credit"])),
    st.tuples(st.just("say"), st.integers(0, 2), FRAMES),
    st.tuples(st.just("leave"), st.integers(0, 2), st.none()),
    st.tuples(st.just("wait"), st.sampled_from([1, 100, 9_000, 61_000]), st.none()),
)


class Town:
    """Three agents with a connection each, and what the relay has sent to whom."""

    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000
        self.machine = RelayMachine(
            RELAY, recovery=bytes(32), entropy=lambda: bytes(32), policy=POLICY
        )
        self.connections: dict[int, ConnectionId] = {}
        self.number = 0
        self.delivered: Counter[tuple[int, ConnectionId]] = Counter()
        self.handle(Started(Head(1, RecordId(bytes(32))), 0, [], []))
        for agent in range(len(AGENTS)):
            self.join(agent)

    def join(self, agent: int) -> None:
        self.number += 1
        connection = self.connections[agent] = ConnectionId(self.number)
        self.handle(Connected(connection, AgentId(AGENTS[agent])))
        self.handle(Received(connection, frames.Hello(frames.VERSION, "", ("link",))))

    def leave(self, agent: int) -> None:
        self.handle(Disconnected(self.connections[agent]))
        self.join(agent)

    def use(self, choice: int, what: str) -> None:
        """Do with some link what a node would, as far as there is one."""
        links = list(self.machine.relayed._links.values())
        if not links:
            return
        link = links[choice // 2 % len(links)]
        opener, accepter = link.flows
        sender, receiver = (opener, accepter) if choice % 2 else (accepter, opener)
        flow = link.flows[sender]
        if not link.is_open:
            self.handle(Received(accepter, frames.AcceptLink(link.number)))
        elif what == "close":
            self.handle(Received(sender, frames.CloseLink(link.number, "")))
        elif what == "credit" and flow.untaken:
            size = flow.untaken if choice > 3 else 1
            self.handle(Received(receiver, frames.LinkCredit(link.number, size)))
        elif what == "send" and flow.credit > 61_000:
            self.handle(Received(sender, frames.LinkData(link.number, bytes(59_000))))
            assert link.flows[sender].untaken >= 60_024

    def wait(self, milliseconds: int) -> None:
        self.now_ms += milliseconds
        while (wake_ms := self.machine.wake_ms()) is not None and wake_ms <= self.now_ms:
            self.handle(Tick())

    def handle(self, event: Event) -> None:
        for effect in self.machine.handle(event, self.now_ms):
            self.check(effect, event)

    def check(self, effect: Effect, event: Event) -> None:
        if isinstance(effect, Drop):
            (agent,) = (a for a, one in self.connections.items() if one == effect.connection)
            self.leave(agent)
        elif isinstance(effect, Reply) and isinstance(effect.frame, frames.LinkData):
            assert isinstance(event, Received)
            assert effect.connection != event.connection
            assert effect.connection in self.connections.values()

    def check_books(self) -> None:
        relayed = self.machine.relayed
        assert len(relayed) <= POLICY.carrying.links_all
        agents: Counter[AgentId] = Counter()
        connections: set[tuple[ConnectionId, int]] = set()
        for number, link in relayed._links.items():
            agents.update((link.opener, link.accepter))
            connections |= {(connection, number) for connection in link.flows}
            assert set(link.flows) <= set(self.connections.values())
            for flow in link.flows.values():
                assert 0 <= flow.credit <= limits.RELAYED_WINDOW_BYTES
                assert min(flow.untaken, flow.held) >= 0
                # All of the window is somewhere, and nowhere twice.
                assert flow.credit + flow.untaken + flow.held == limits.RELAYED_WINDOW_BYTES
            assert self.machine._state.timers.has(link.timer)
        assert relayed._of_agents == agents
        assert max(agents.values(), default=0) <= POLICY.carrying.links
        kept = {(c, number) for c, numbers in relayed._of_connections.items() for number in numbers}
        assert kept == connections


@given(st.lists(STEPS, min_size=40, max_size=120))
def test_the_books_are_right_whatever_is_said(steps: list[tuple[str, int, Any]]) -> None:
    town = Town()
    for what, number, frame in steps:
        match what:
            case "say":
                town.handle(Received(town.connections[number], frame))
            case "open":
                town.handle(Received(town.connections[number], frames.OpenLink(1, AGENTS[frame])))
            case "use":
                town.use(number, frame)
            case "leave":
                town.leave(number)
            case _:
                town.wait(number)
        town.check_books()
    for _ in range(20):
        town.wait(limits.MINUTE_MS // 4)
    assert len(town.machine.relayed) == 0
    town.check_books()
