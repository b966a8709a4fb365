"""Everybody's opinions: those of the honest, and those that the malicious utter, in both roles."""

from collections.abc import Sequence
from typing import Final, get_args

import numpy as np

from bazaar_simulations.adversaries.adversary import Bools, Floats, Ints
from bazaar_simulations.population.defences import Outcomes
from bazaar_simulations.population.evidence import Role
from bazaar_simulations.population.large.opinions import EMPTY, Opinions, Rows

HONEST_WIDTH: Final = 128
"""Of so many others an honest agent remembers anything: more than it deals with in a run."""
MALICIOUS_WIDTH: Final = 32


class Talk:
    """What everybody says of everybody else.

    Args:
        honest: How many honest ones there are; the malicious have the numbers that follow.
        size: How many identities there are.
        roles: In which roles anybody listens to what is said.

    """

    def __init__(self, honest: int, size: int, roles: Sequence[Role] = get_args(Role)) -> None:
        self.honest = honest
        self.size = size
        self.has_bad_posters = False
        """Whether anybody has ever said anything bad of a poster; until then nobody listens."""
        self._by_honest: dict[Role, Opinions] = {}
        self._by_malicious: dict[Role, Opinions] = {}
        for role in roles:
            self._by_honest[role] = Opinions(honest, HONEST_WIDTH)
            self._by_malicious[role] = Opinions(size - honest, MALICIOUS_WIDTH)

    @property
    def roles(self) -> Sequence[Role]:
        """In which roles anybody listens to what is said."""
        return tuple(self._by_honest)

    def of_honest(self, role: Role) -> Opinions:
        """Return what the honest say of others in a role."""
        return self._by_honest[role]

    def rate(self, outcomes: Outcomes) -> None:
        """Take note of what came of work."""
        posters, workers = outcomes.posters, outcomes.workers
        self._say("worker", posters, workers, outcomes.jobs)
        if "poster" in self._by_honest:
            self._say("poster", workers, posters, outcomes.poster_jobs)
        self.has_bad_posters |= bool((outcomes.poster_jobs < 0).any())
        for role in self._by_honest:
            for agents in (posters, workers):
                is_honest = agents < self.honest
                self._by_honest[role].write(agents[is_honest], outcomes.entries)
                members = agents[~is_honest] - self.honest
                self._by_malicious[role].write(members, outcomes.entries)

    def pass_round(self) -> None:
        """Let what was said fade, and count what is new."""
        for role in self._by_honest:
            self._by_honest[role].pass_round()
            self._by_malicious[role].pass_round()

    def forget(self, agents: Ints) -> None:
        """Forget all about these, who are malicious: they have new names now."""
        is_forgotten = np.zeros(self.size, bool)
        is_forgotten[agents] = True
        for role in self._by_honest:
            self._by_honest[role].forget(is_forgotten)
            self._by_malicious[role].forget(is_forgotten)
            self._by_malicious[role].clear(agents - self.honest)

    def rows(self, role: Role, agents: Ints) -> Rows:
        """Return what ``agents`` say now of others in a role."""
        ours, theirs = self._by_honest[role], self._by_malicious[role]
        is_honest = agents < self.honest
        width = max(ours.width, theirs.width)
        subjects = np.full((len(agents), width), EMPTY, np.int32)
        good, bad = np.zeros((len(agents), width)), np.zeros((len(agents), width))
        for which, opinions, first in ((is_honest, ours, 0), (~is_honest, theirs, self.honest)):
            found = opinions.rows(agents[which] - first)
            subjects[which, : opinions.width] = found.subjects
            good[which, : opinions.width] = found.good
            bad[which, : opinions.width] = found.bad
        return Rows(subjects, good, bad)

    def breadth(self, agents: Ints) -> Ints:
        """Return of how many workers each has an opinion."""
        counts = np.zeros(len(agents), np.int64)
        is_honest = agents < self.honest
        counts[is_honest] = self._by_honest["worker"].breadth(agents[is_honest])
        members = agents[~is_honest] - self.honest
        counts[~is_honest] = self._by_malicious["worker"].breadth(members)
        return counts

    def _say(self, role: Role, raters: Ints, subjects: Ints, jobs: Floats) -> None:
        is_honest: Bools = raters < self.honest
        self._by_honest[role].say(raters[is_honest], subjects[is_honest], jobs[is_honest])
        theirs = ~is_honest
        members = raters[theirs] - self.honest
        self._by_malicious[role].say(members, subjects[theirs], jobs[theirs])
