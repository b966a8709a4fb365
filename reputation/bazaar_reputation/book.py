"""All evidence that a node knows of, as numbers that fade: what scores are computed from.

The node feeds it: the tally of every strand as findings fold into it, how far each log is known,
who vouches, who was convicted. It holds no record, asks nobody and keeps no time. What it answers
depends on what it was told, and never on the order in which that came.

Inside, agents are small numbers (``number``), given in the order of arrival; wherever order could
show, agents are sorted by their ids.
"""

from collections.abc import Sequence
from typing import Final

from bazaar_protocol.identity import AgentId
from bazaar_protocol.limits import VOUCHES_COUNTED_MAX
from bazaar_protocol.records import RecordId
from bazaar_reputation.findings import Finding, Role, StrandKey
from bazaar_reputation.lineage import Lineage
from bazaar_reputation.priors import Meeting
from bazaar_reputation.ratings import Ratings, strand_of
from bazaar_reputation.strands import Tally
from bazaar_reputation.vouches import Vouches

OBJECTIVE: Final = 0
"""The number of the rater of what a subject's own signatures prove: it is nobody's."""

_CHANGES_KEPT: Final = 65_536
_ENTRIES_PER_ROUND: Final = 2


class Book:
    """Tallies by subject and rater, heads of logs, vouches, stamps, convictions, successions."""

    def __init__(self) -> None:
        self.ids: list[AgentId] = [AgentId(b"")]
        """The agents by their numbers."""
        self.variants: list[tuple[str, int, bytes]] = []
        """Capability, version and fingerprint, by the number of the variant."""
        self.revision = 0
        """Goes up with everything that changes."""
        self.standing_revision = 0
        """Goes up with vouches, stamps, successions and meetings."""
        self.ratings: dict[Role, Ratings] = {"worker": Ratings(), "poster": Ratings()}
        self.lineage = Lineage(self.ids)
        self.vouches = Vouches()
        self._numbers: dict[AgentId, int] = {AgentId(b""): OBJECTIVE}
        self._variant_numbers: dict[tuple[str, int, bytes], int] = {}
        self._heads: list[int] = [0]
        self._convicted: dict[int, int] = {}
        self._stamped: set[int] = set()
        self._meetings: dict[tuple[int, Role, RecordId], Meeting] = {}
        self._changes: list[int] = []
        self._changes_dropped = 0

    # What the node tells.

    def put(self, key: StrandKey, tally: Tally) -> None:
        """Set what the findings of a strand add up to, in place of what stood there."""
        subject, rater = self.enter(key.subject), self._enter_rater(key)
        self.ratings[key.role].put(subject, rater, strand_of(self._variant(key), tally))
        self._note(rater)

    def drop(self, key: StrandKey) -> None:
        """Forget a strand: it has no findings any more."""
        subject, rater = self.enter(key.subject), self._enter_rater(key)
        self.ratings[key.role].drop(subject, rater, self._variant(key))
        self._note(rater)

    def head(self, agent: AgentId, seq: int) -> None:
        """Note that the log of ``agent`` is known up to entry ``seq``."""
        number = self.enter(agent)
        if seq > self._heads[number]:
            self._heads[number] = seq
            self._note(number)

    def convict(self, agent: AgentId, seq: int = 1) -> None:
        """Note that a proof stands against ``agent``: for ever.

        Args:
            agent: Whom it convicts.
            seq: The entry of its log that proves it. What a thief signs beyond the end of a log
                convicts nobody.

        """
        number = self.enter(agent)
        if seq < self._convicted.get(number, seq + 1):
            self._convicted[number] = seq
            self._note(number)

    def vouch(self, voucher: AgentId, seq: int, agent: AgentId, *, is_withdrawn: bool) -> None:
        """Note a ``vouch`` record, entry ``seq`` of the voucher's log."""
        numbers = self.enter(voucher), self.enter(agent)
        self.vouches.note(numbers[0], seq, numbers[1], is_withdrawn=is_withdrawn)
        self._note_standing()

    def stamp(self, agent: AgentId) -> None:
        """Note that ``agent`` shows a proof of work: it was done once, and counts for ever."""
        self._stamped.add(self.enter(agent))
        self._note_standing()

    def succeed(self, old: AgentId, new: AgentId | None, last_seq: int) -> None:
        """Note that the log of ``old`` ended with entry ``last_seq``.

        Args:
            old: Whose log.
            new: Who carries on with all that ``old`` has earned, good and bad. Name it only when
                it has agreed, by a signature of its own: else anybody could hang a bad name on
                whom they like.
            last_seq: Whatever ``old`` signed beyond it, a thief has signed.

        """
        heir = None if new is None else self.enter(new)
        if self.lineage.end(self.enter(old), heir, last_seq):
            self._note_standing()
            self._changes_dropped += len(self._changes) + 1  # nobody can follow: all may differ
            self._changes.clear()

    def meet(self, finding: Finding) -> None:
        """Note a finding by an agent that asks for scores: priors are made of the first ones."""
        assert finding.strand.rater is not None
        rater = self.enter(finding.strand.rater)
        self._meetings[rater, finding.strand.role, finding.contract] = Meeting.of(finding)
        self._note_standing()

    def unmeet(self, rater: AgentId, role: Role, contract: RecordId) -> None:
        """Take back what ``meet`` was told of a contract."""
        self._meetings.pop((self.enter(rater), role, contract), None)
        self._note_standing()

    # What scores are made of.

    def enter(self, agent: AgentId) -> int:
        """Return the number of ``agent``, a new one if nothing was ever said of it."""
        number = self._numbers.get(agent)
        if number is None:
            number = self._numbers[agent] = len(self.ids)
            self.ids.append(agent)
            self._heads.append(0)
        return number

    def number(self, agent: AgentId) -> int | None:
        """Return who speaks for ``agent`` now; None if nothing was ever said of it."""
        number = self._numbers.get(agent)
        return None if number is None else self.lineage.final(number)

    def key(self, role: Role, subject: int, rater: AgentId | None, variant: int) -> StrandKey:
        """Return the key of a strand."""
        capability, version, fingerprint = self.variants[variant]
        return StrandKey(role, self.ids[subject], rater, capability, version, fingerprint)

    def round_of(self, rater: int) -> int:
        """Return how many rounds old the log of ``rater`` is, its heirs' logs included."""
        last_seq = self.lineage.last_seq(rater)
        if last_seq is None:
            return self._heads[rater] // _ENTRIES_PER_ROUND
        rounds = min(self._heads[rater], last_seq) // _ENTRIES_PER_ROUND
        for heir in self.lineage.heirs(rater):
            end = self.lineage.last_seq(heir)
            head = self._heads[heir] if end is None else min(self._heads[heir], end)
            rounds += head // _ENTRIES_PER_ROUND
        return rounds

    def is_convicted(self, agent: int) -> bool:
        """Tell whether a proof stands against ``agent``, or whom it carries on for."""
        return bool(self._convicted) and any(map(self._is_proven, self.lineage.family(agent)))

    def is_stamped(self, agent: int) -> bool:
        """Tell whether ``agent`` shows a proof of work."""
        return not self._stamped.isdisjoint(self.lineage.family(agent))

    def outstanding(self, agent: int) -> tuple[int, ...]:
        """Return for whom ``agent`` answers: no more than count, the oldest vouches first."""
        lineage = self.lineage
        vouched: dict[int, None] = {}
        for log in lineage.family(agent):
            for number in self.vouches.outstanding(log, lineage.last_seq(log)):
                if (other := lineage.final(number)) != agent:
                    vouched[other] = None
        return tuple(vouched)[:VOUCHES_COUNTED_MAX]

    def meetings(self, rater: int, role: Role) -> list[Meeting]:
        """Return what ``meet`` was told of ``rater``, the oldest first."""
        family = self.lineage.family(rater)
        return [
            meeting
            for log in family
            for meeting in sorted(
                meeting
                for (number, of_role, _), meeting in self._meetings.items()
                if number == log and of_role == role
            )
        ]

    def changes_since(self, position: int) -> Sequence[int] | None:
        """Return whose opinions may have changed since ``position``; None if anybody's."""
        first = position - self._changes_dropped
        return None if first < 0 else self._changes[first:]

    @property
    def position(self) -> int:
        """Return where the changes stand now, for ``changes_since``."""
        return self._changes_dropped + len(self._changes)

    def _is_proven(self, number: int) -> bool:
        seq = self._convicted.get(number)
        last_seq = self.lineage.last_seq(number)
        return seq is not None and (last_seq is None or seq <= last_seq)

    def _enter_rater(self, key: StrandKey) -> int:
        return OBJECTIVE if key.rater is None else self.enter(key.rater)

    def _variant(self, key: StrandKey) -> int:
        variant = key.capability, key.version, key.fingerprint
        number = self._variant_numbers.get(variant)
        if number is None:
            number = self._variant_numbers[variant] = len(self.variants)
            self.variants.append(variant)
        return number

    def _note_standing(self) -> None:
        self.revision += 1
        self.standing_revision += 1

    def _note(self, rater: int) -> None:
        self.revision += 1
        if rater == OBJECTIVE:
            return
        if len(self._changes) >= _CHANGES_KEPT:
            self._changes_dropped += len(self._changes)
            self._changes.clear()
        self._changes.append(self.lineage.final(rater))
