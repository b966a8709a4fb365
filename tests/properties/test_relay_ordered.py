"""A set that is read in order from any place on is what a sorted list is."""

from random import Random

from hypothesis import given, settings, strategies as st

from bazaar_protocol.identity import AgentId
from bazaar_relay.machine.ordered import OrderedAgents

agents = st.integers(0, 6_000).map(lambda number: AgentId(number.to_bytes(32, "big")))


@settings(deadline=None, max_examples=20)
@given(st.lists(agents, max_size=40), st.integers(0, 99), agents, st.integers(1, 9))
def test_it_reads_like_a_sorted_list(
    gone: list[AgentId], seed: int, after: AgentId, limit: int
) -> None:
    everyone = [AgentId(n.to_bytes(32, "big")) for n in range(0, 6_000, 2)]
    Random(seed).shuffle(everyone)
    here, known = OrderedAgents(), set[AgentId]()
    for agent in everyone:
        here.add(agent)
        known.add(agent)
    for agent in gone:
        if agent in known:
            here.remove(agent)
            known.discard(agent)
    assert len(here) == len(known)
    assert here.after(after, limit) == sorted(one for one in known if one > after)[:limit]
    assert here.after(AgentId(b""), 10_000) == sorted(known)


@given(st.lists(agents, unique=True, max_size=30))
def test_whoever_came_can_leave(members: list[AgentId]) -> None:
    here = OrderedAgents()
    for agent in members:
        here.add(agent)
    for agent in sorted(members):
        here.remove(agent)
    assert not here
    assert here.after(AgentId(b""), 9) == []
