"""Who carries on for whom: an identity that was ended, and the one that its owner named instead.

Agents are numbers here (``book.Book`` numbers them). An ended log counts up to its last honest
entry; with its heir, if it has one, it is one agent to whoever keeps score. What comes out does
not depend on the order in which ends become known, and costs the same however many there are.
"""

from collections.abc import Sequence
from typing import TypeAlias

from bazaar_protocol.limits import SUCCESSIONS_FOLLOWED_MAX

_End: TypeAlias = tuple[int, int | None]


class Lineage:
    """The ends of identities that are known.

    Args:
        ids: The agents' ids by their numbers; it may grow.

    """

    __slots__ = ("_claims", "_ends", "_ids", "_parents")

    def __init__(self, ids: Sequence[bytes]) -> None:
        self._ids = ids
        self._ends: dict[int, _End] = {}
        self._claims: dict[int, set[int]] = {}
        # One agent is the heir of one: of several who name it, of the one with the smallest id.
        self._parents: dict[int, int] = {}

    def end(self, old: int, heir: int | None, last_seq: int) -> bool:
        """Note an end and tell whether it changes anything.

        Of several ends of one identity the one that leaves least of it holds, and among those the
        one with the smallest heir; one without an heir, who may still agree, comes last.
        """
        known = self._ends.get(old)
        if known is not None and self._rank(known) <= self._rank((last_seq, heir)):
            return False
        self._ends[old] = (last_seq, heir)
        if known is not None and known[1] is not None:
            self._claims[known[1]].discard(old)
            self._choose_parent(known[1])
        if heir is not None:
            self._claims.setdefault(heir, set()).add(old)
            parent = self._parents.get(heir)
            if parent is None or self._ids[old] < self._ids[parent]:
                self._parents[heir] = old
        return True

    def final(self, agent: int) -> int:
        """Return who speaks for ``agent`` now: itself, unless it has an heir."""
        if agent not in self._ends:
            return agent
        heirs = self.heirs(agent)
        return heirs[-1] if heirs else agent

    def family(self, agent: int) -> tuple[int, ...]:
        """Return all identities of the one who speaks as ``agent``, the oldest first."""
        if not self._ends:
            return (agent,)
        older = [agent]
        while (parent := self._parents.get(older[-1])) is not None and parent != agent:
            if len(older) > SUCCESSIONS_FOLLOWED_MAX:
                break
            older.append(parent)
        return tuple(number for number in reversed(older) if self.final(number) == agent)

    def last_seq(self, agent: int) -> int | None:
        """Return the last entry that counts of an ended log; None if it goes on."""
        end = self._ends.get(agent)
        return None if end is None else end[0]

    def heirs(self, agent: int) -> tuple[int, ...]:
        """Return those who came after ``agent``, each the heir of the one before."""
        heirs: list[int] = []
        heir = self._heir(agent)
        while heir is not None and len(heirs) < SUCCESSIONS_FOLLOWED_MAX:
            if heir == agent:
                return ()  # a circle: nobody carries on for anybody
            heirs.append(heir)
            heir = self._heir(heir)
        return tuple(heirs)

    def _heir(self, agent: int) -> int | None:
        _, heir = self._ends.get(agent, (0, None))
        return heir if heir is not None and self._parents.get(heir) == agent else None

    def _choose_parent(self, heir: int) -> None:
        claims = self._claims[heir]
        if claims:
            self._parents[heir] = min(claims, key=self._ids.__getitem__)
        else:
            self._parents.pop(heir, None)

    def _rank(self, end: _End) -> tuple[int, bool, bytes]:
        last_seq, heir = end
        return last_seq, heir is None, b"" if heir is None else self._ids[heir]
