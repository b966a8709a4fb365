"""Strangers at the gate: who is known here, who has done a proof of work, and what is free.

An identity costs nothing, so whoever is not known writes little until it has shown some work: one
stamp for this relay. Known is whom the operator allows, or whose log has grown long here, entry by
entry. The machine asks before a signature is checked, so what a flood costs is a hash for each.
"""

from collections.abc import Sequence
from typing import Final

from bazaar_protocol import limits
from bazaar_protocol.errors import RemoteError
from bazaar_protocol.evidence import stamp_bits
from bazaar_protocol.evidence_kinds import Omission, Proof, Stamp, Succession
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record, parse
from bazaar_protocol.work_wanted import PREFIX, WorkWanted, say_work_wanted
from bazaar_relay.machine.admission import Policy
from bazaar_relay.machine.bounded import Bounded
from bazaar_relay.machine.buckets import Buckets, Rate
from bazaar_relay.machine.difficulty import Difficulty

_NONE: Final = -1
_STAMP_BYTES_MAX: Final = 512
_FREELY_TAKEN: Final = (Proof, Omission, Succession)
"""Of each there is one for each agent at most, and who shows a fraud need not be known."""


class Gate:
    """Decides who is a stranger; see ``WorkPolicy`` for what that means."""

    def __init__(self, policy: Policy, relay: AgentId) -> None:
        self._policy = policy
        self._relay = relay
        self._stamped: Bounded[AgentId, int] = Bounded(limits.HEADS_CACHED_MAX)
        """The day of the newest stamp of each that was good."""
        self._free: Buckets[AgentId] = Buckets()
        self._free_together: Buckets[str] = Buckets(1)
        self.difficulty = Difficulty(policy.work)

    @property
    def is_open(self) -> bool:
        """Whether nobody is a stranger."""
        return self._policy.work.bits == 0

    def set_policy(self, policy: Policy) -> None:
        """Go on under another policy."""
        self._policy = policy
        self.difficulty.set_policy(policy.work)

    def knows(self, agent: AgentId, head: Head | None, now_ms: int) -> bool | None:
        """Tell whether ``agent``, whose log ends so here, is no stranger; None if that is unclear.

        Then the head of its log has to be learnt, and its stamps.
        """
        if self.is_open or agent in self._policy.allowed or agent == self._relay:
            return True
        stamped = self._stamped.get(agent)
        if stamped is not None and self._is_of_now(stamped, now_ms):
            return True
        if head is not None and head.seq >= self._policy.grown_entries:
            return True
        return None if head is None or stamped is None else False

    def has_learnt_stamps(self, agent: AgentId) -> bool:
        """Tell whether it is known what stamps the store has of ``agent``."""
        return self._stamped.get(agent) is not None

    def learn(self, agent: AgentId, stamps: Sequence[Record]) -> None:
        """Take in what stamps the store has of an agent."""
        if self._stamped.get(agent) is None:
            self._stamped.put(agent, max([_NONE, *map(self._day_if_good, stamps)]))

    def forget(self, agent: AgentId) -> None:
        """Ask the store again for the stamps of an agent."""
        self._stamped.pop(agent)

    def let_in(self, record: Record) -> None:
        """Take note of a stamp that is good."""
        assert isinstance(record.body, Stamp)
        known = self._stamped.get(record.author)
        self._stamped.put(record.author, max(_NONE if known is None else known, record.body.day))

    def is_for_us(self, record: Record) -> bool:
        """Tell whether a record is a stamp that was made for this relay."""
        return isinstance(record.body, Stamp) and record.body.relay == self._relay

    def stamp_refusal(self, record: Record, now_ms: int) -> str:
        """Return what is wrong with a stamp for this relay, as a status; empty if it is good."""
        assert isinstance(record.body, Stamp)
        if self.is_open:
            return ""
        bits = stamp_bits(record.author, record.body)
        is_good = self._is_of_now(record.body.day, now_ms)
        return "" if is_good and self.difficulty.is_enough(bits, now_ms) else self.refusal(now_ms)

    def refusal(self, now_ms: int) -> str:
        """Return the status that asks for work."""
        wanted = WorkWanted(self.difficulty.target(now_ms), now_ms // limits.DAY_MS)
        return f"{PREFIX}: {say_work_wanted(wanted)}"

    def is_freely_taken(self, record: Record) -> bool:
        """Tell whether it does not matter who signed a record."""
        return isinstance(record.body, _FREELY_TAKEN)

    def count_free(self, agent: AgentId, now_ms: int) -> int:
        """Return how many records a stranger may write now without any work."""
        own = self._free.left(agent, self._free_rate, now_ms)
        return min(own, self._free_together.left("", self._together_rate, now_ms)) if own else 0

    def spend_free(self, agent: AgentId, records: int, now_ms: int) -> None:
        """Count what a stranger writes without any work."""
        if records:
            self._free.spend(agent, self._free_rate, records, now_ms)
            self._free_together.spend("", self._together_rate, records, now_ms)

    def is_worth_a_look(self, raw: bytes, agent: AgentId, now_ms: int) -> bool:
        """Tell whether bytes hold a stamp of an agent with enough work; who signed it is open."""
        if len(raw) > _STAMP_BYTES_MAX:
            return False
        try:
            record = parse(raw)[0]
        except RemoteError:
            return False
        is_its_own = record.author == agent and self.is_for_us(record)
        return is_its_own and not self.stamp_refusal(record, now_ms)

    def _day_if_good(self, record: Record) -> int:
        body = record.body
        if not isinstance(body, Stamp) or body.relay != self._relay:
            return _NONE
        # Not what is asked for now: it was taken when less was asked.
        return body.day if stamp_bits(record.author, body) >= self._policy.work.bits else _NONE

    def _is_of_now(self, day: int, now_ms: int) -> bool:
        today = now_ms // limits.DAY_MS
        return today - self._policy.work.days < day <= today + 1  # its clock may be ahead

    @property
    def _free_rate(self) -> Rate:
        return Rate(self._policy.work.free_per_minute, limits.MINUTE_MS)

    @property
    def _together_rate(self) -> Rate:
        return Rate(self._policy.work.free_per_s, saved=2)
