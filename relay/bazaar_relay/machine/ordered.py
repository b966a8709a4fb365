"""A set that is read in order from any place on: pages of what many thousands offer."""

from bisect import bisect_left, bisect_right, insort
from typing import Final

from bazaar_protocol.identity import AgentId

PART_MAX: Final = 1024


class OrderedAgents:
    """Agents in the order of their ids, in parts that stay small enough to be shifted quickly."""

    __slots__ = ("_ends", "_length", "_parts")

    def __init__(self) -> None:
        self._parts: list[list[AgentId]] = []
        self._ends: list[AgentId] = []
        """The last of each part."""
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, agent: AgentId) -> None:
        """Add an agent that is not here."""
        self._length += 1
        if not self._parts:
            self._parts.append([agent])
            self._ends.append(agent)
            return
        place = min(bisect_left(self._ends, agent), len(self._parts) - 1)
        part = self._parts[place]
        insort(part, agent)
        self._ends[place] = part[-1]
        if len(part) > PART_MAX:
            half = len(part) // 2
            self._parts[place : place + 1] = [part[:half], part[half:]]
            self._ends.insert(place, part[half - 1])

    def remove(self, agent: AgentId) -> None:
        """Remove an agent that is here."""
        self._length -= 1
        place = bisect_left(self._ends, agent)
        part = self._parts[place]
        del part[bisect_left(part, agent)]
        if part:
            self._ends[place] = part[-1]
        else:
            del self._parts[place], self._ends[place]

    def after(self, agent: AgentId, limit: int) -> list[AgentId]:
        """Return the first ``limit`` agents beyond ``agent``."""
        found: list[AgentId] = []
        place = bisect_right(self._ends, agent)
        while len(found) < limit and place < len(self._parts):
            part = self._parts[place]
            first = 0 if found else bisect_right(part, agent)
            found += part[first : first + limit - len(found)]
            place += 1
        return found
