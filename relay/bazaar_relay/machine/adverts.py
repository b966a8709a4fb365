"""The adverts that are live: who offers what, and which of them fit a search.

Agents stand under every prefix of each capability that they offer, in the order in which they were
last sent a post: the first of them is whose turn it is. Those who listen stand in a queue of their
own and come first: adverts cost nothing, and without that anyone could sign so many, under names
that nobody answers to, that no post would reach a worker. Words are found by an inverted index.
"""

import heapq
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final

from bazaar_protocol import limits
from bazaar_protocol.frames import Query
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Advert
from bazaar_protocol.records import Record
from bazaar_relay.machine.bounded import Bounded
from bazaar_relay.machine.ordered import OrderedAgents

_WORD: Final = re.compile(r"\w{2,}")
_ANY: Final = ""
_SCORE_MAX: Final = 10**9
_PLACE: Final = re.compile(r"(\d{1,10})\.([0-9a-f]{64})\Z")


@dataclass(frozen=True, slots=True)
class LiveAdvert:
    """An advert that has not expired."""

    record: Record
    body: Advert
    words: dict[str, int]
    """How much each of its words counts."""

    @property
    def free_slots(self) -> int:
        """How many more tasks the agent says it can take."""
        return max(0, self.body.slots - self.body.load)


class Adverts:
    """The live advert of each agent."""

    def __init__(self) -> None:
        self._live: dict[AgentId, LiveAdvert] = {}
        self._by_capability: dict[str, dict[AgentId, None]] = {}
        self._listening: dict[AgentId, None] = {}
        """Here or elsewhere."""
        self._here: dict[AgentId, None] = {}
        self._elsewhere: dict[AgentId, None] = {}
        self._listening_by_capability: dict[str, dict[AgentId, None]] = {}
        self._by_word: dict[str, dict[AgentId, None]] = {}
        self._in_order: dict[str, OrderedAgents] = {_ANY: OrderedAgents()}
        """For each prefix who offers it, to be read by pages."""
        # Longer than the adverts live, so that an older one is not taken for news.
        self._versions: Bounded[AgentId, int] = Bounded(limits.ADVERTS_LIVE_MAX)

    def __len__(self) -> int:
        return len(self._live)

    def get(self, agent: AgentId) -> LiveAdvert | None:
        """Return the live advert of ``agent``."""
        return self._live.get(agent)

    def version(self, agent: AgentId) -> int:
        """Return the highest version known of ``agent``; 0 for none."""
        return self._versions.get(agent) or 0

    def put(self, record: Record, body: Advert) -> None:
        """Make ``record`` the live advert of its author; one without duration ends it."""
        self.remove(record.author)
        self._versions.put(record.author, body.version)
        if body.expires_in_ms == 0:
            return
        advert = LiveAdvert(record, body, _weigh_words(body))
        self._live[record.author] = advert
        for key in _keys(body):
            self._by_capability.setdefault(key, {})[record.author] = None
            if record.author in self._listening:
                self._listening_by_capability.setdefault(key, {})[record.author] = None
        for word in advert.words:
            self._by_word.setdefault(word, {})[record.author] = None
        for key in (_ANY, *_keys(body)):
            self._in_order.setdefault(key, OrderedAgents()).add(record.author)

    def put_back(self, agent: AgentId, advert: LiveAdvert | None, version: int) -> None:
        """Return to what was known of ``agent`` before."""
        self.remove(agent)
        if advert is not None:
            self.put(advert.record, advert.body)
        self._versions.put_back(agent, version or None)

    def remove(self, agent: AgentId) -> None:
        """Forget the advert of ``agent``, if it has one."""
        advert = self._live.pop(agent, None)
        if advert is None:
            return
        for key in _keys(advert.body):
            _discard(self._by_capability, key, agent)
            _discard(self._listening_by_capability, key, agent)
        for word in advert.words:
            _discard(self._by_word, word, agent)
        for key in (_ANY, *_keys(advert.body)):
            self._in_order[key].remove(agent)
            if not self._in_order[key] and key != _ANY:
                del self._in_order[key]

    def listens(self, agent: AgentId) -> None:
        """Take note that ``agent`` has a link on which it hears of posts."""
        self._here[agent] = None
        self._begin_to_listen(agent)

    def left(self, agent: AgentId) -> None:
        """Take note that ``agent`` hears of nothing here at the moment."""
        self._here.pop(agent, None)
        self._end_if_nowhere(agent)

    def listen_elsewhere(self, agents: Iterable[AgentId]) -> None:
        """Take note of all who listen at other processes of this relay."""
        before, self._elsewhere = self._elsewhere, dict.fromkeys(agents)
        for agent in self._elsewhere:
            self._begin_to_listen(agent)
        for agent in before:
            self._end_if_nowhere(agent)

    @property
    def listening_here(self) -> list[AgentId]:
        """Who listens at this process."""
        return list(self._here)

    def candidates(self, capability: str, version: int) -> Iterator[AgentId]:
        """Yield who offers ``capability``: listeners, free slots, and whose turn it is come first.

        Nothing may be changed while this is iterated.
        """
        listening = self._listening_by_capability.get(capability, {})
        everyone = self._by_capability.get(capability, {})
        for agents, is_free in product((listening, everyone), (True, False)):
            for agent in agents:
                if agents is everyone and agent in listening:
                    continue
                advert = self._live[agent]
                if (advert.free_slots > 0) == is_free and _offers(advert.body, capability, version):
                    yield agent

    def was_sent_a_post(self, agent: AgentId) -> None:
        """Move ``agent`` to the end of every queue it stands in."""
        for key in self._keys_of(agent):
            for queues in (self._by_capability, self._listening_by_capability):
                if agent in (agents := queues.get(key, {})):
                    del agents[agent]
                    agents[agent] = None

    def count(self, query: Query) -> int:
        """Return how many adverts have to be looked at for ``query``, at most."""
        if not _split(query.words):
            return query.limit
        if not query.capability:
            return len(self._live)
        return len(self._by_capability.get(query.capability, {}))

    def search(self, query: Query) -> tuple[list[bytes], str]:
        """Return a page of adverts, best first, and where the next page begins."""
        place = _PLACE.match(query.after)
        after = (-int(place[1]), AgentId(bytes.fromhex(place[2]))) if place else None
        words = list(dict.fromkeys(_split(query.words)))
        if words:
            fitting = (
                (-score, agent)
                for agent, score in self._scores(words, query.capability).items()
                if after is None or (-score, agent) > after
            )
            ranked = heapq.nsmallest(query.limit + 1, fitting)
        else:
            ranked = self._in_turn(query, AgentId(b"") if after is None else after[1])
        page: list[bytes] = []
        room = limits.FRAME_BYTES_MAX - limits.KIB
        for index, (_, agent) in enumerate(ranked):
            raw = self._live[agent].record.raw
            room -= len(raw) + 8
            if len(page) == query.limit or (page and room < 0):
                score, last = ranked[index - 1]
                return page, f"{-score}.{last.hex()}"
            page.append(raw)
        return page, ""

    def _begin_to_listen(self, agent: AgentId) -> None:
        if agent not in self._listening:
            self._listening[agent] = None
            for key in self._keys_of(agent):
                self._listening_by_capability.setdefault(key, {})[agent] = None

    def _end_if_nowhere(self, agent: AgentId) -> None:
        if agent in self._here or agent in self._elsewhere or agent not in self._listening:
            return
        del self._listening[agent]
        for key in self._keys_of(agent):
            _discard(self._listening_by_capability, key, agent)

    def _keys_of(self, agent: AgentId) -> dict[str, None]:
        advert = self._live.get(agent)
        return {} if advert is None else _keys(advert.body)

    def _in_turn(self, query: Query, after: AgentId) -> list[tuple[int, AgentId]]:
        """Return those who offer a capability, all of which fit it equally well."""
        agents = self._in_order.get(query.capability)
        return [] if agents is None else [(0, one) for one in agents.after(after, query.limit + 1)]

    def _scores(self, words: list[str], capability: str) -> dict[AgentId, int]:
        within = self._by_capability.get(capability, {}) if capability else self._live
        scores: dict[AgentId, int] = {}
        for word in words:
            agents = self._by_word.get(word, {})
            # A word that few use says more (inverse document frequency, Spärck Jones 1972).
            rarity = (1 + len(self._live) // max(1, len(agents))).bit_length()
            # Whichever are fewer are gone through, since each costs a look at its advert.
            fewer, others = (within, agents) if len(within) < len(agents) else (agents, within)
            for agent in fewer:
                if agent in others:
                    gained = scores.get(agent, 0) + rarity * self._live[agent].words[word]
                    scores[agent] = min(gained, _SCORE_MAX)
        return scores


def prefixes(capability: str) -> list[str]:
    """Return ``capability`` and every prefix of it that ends before a dot, shortest first."""
    names = capability.split(".")
    return [".".join(names[: count + 1]) for count in range(len(names))]


def _offers(body: Advert, capability: str, version: int) -> bool:
    below = capability + "."
    return any(
        (offered.name == capability or offered.name.startswith(below))
        and version in {0, offered.version}
        for offered in body.capabilities
    )


def _keys(body: Advert) -> dict[str, None]:
    return dict.fromkeys(key for one in body.capabilities for key in prefixes(one.name))


def _weigh_words(body: Advert) -> dict[str, int]:
    weights: dict[str, int] = {}
    texts = [(body.name, 2)]
    for capability in body.capabilities:
        texts += [(capability.name.replace("_", " "), 4)]
        texts += [(tag, 3) for tag in capability.tags]
        texts += [(capability.description, 1)]
    for text, weight in texts:
        for word in _split(text):
            # Each word counts once, where it counts most: repeating it gains nothing.
            if word in weights or len(weights) < limits.ADVERT_WORDS_MAX:
                weights[word] = max(weights.get(word, 0), weight)
    return weights


def _split(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _discard(index: dict[str, dict[AgentId, None]], key: str, agent: AgentId) -> None:
    agents = index.get(key, {})
    agents.pop(agent, None)
    if not agents:
        index.pop(key, None)
