"""What an adversary is to the population: a few things that it does differently from the honest.

Its members are numbered from 0. Where a principal has several identities, these take turns by
number: identity ``k`` belongs to principal ``k % principals``. Everything is in arrays, one entry
for each job, rating or member.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Group: TypeAlias = Literal["work", "reputation"]


@dataclass(frozen=True, slots=True)
class Crowd:
    """All malicious identities, and the honest ones about them."""

    size: int
    principals: int
    first: int
    """The number that member 0 has among all identities; the rest follow."""
    honest: Ints
    """The honest who are here by now, by their numbers among all."""
    bad_met: NDArray[np.bool_]
    """By member and identity: whether that one has ever rejected this member's work."""
    round: int
    rounds: int
    rng: np.random.Generator

    def pairs(self, raters: Ints, each: int) -> tuple[Ints, Ints]:
        """Return ``each`` ratings by every one of ``raters`` about members drawn at random."""
        said_by = np.repeat(raters, each)
        about = self.rng.integers(0, self.size, len(said_by))
        return said_by, about


@dataclass(frozen=True, slots=True)
class Jobs:
    """Jobs that members have been given."""

    crowd: Crowd
    workers: Ints
    """Members."""
    posters: Ints
    """Numbers among all identities."""
    values: Floats
    """What the poster would pay at most; the median is 1."""
    done: Ints
    """How many jobs the member did under its present identity before."""
    quality: Floats
    """How often the member would succeed if it tried, between 0 and 1."""
    is_probe: bool

    def tried(self) -> Bools:
        """Return how honest work comes out."""
        return np.asarray(self.crowd.rng.random(len(self.workers)) < self.quality)

    def none(self) -> Bools:
        """Return failures only."""
        return np.zeros(len(self.workers), bool)

    def some(self, which: Ints, crowd: Crowd, first: int) -> "Jobs":
        """Return some of them, for members of ``crowd``, whose numbers begin at ``first`` here."""
        return replace(
            self,
            crowd=crowd,
            workers=self.workers[which] - first,
            posters=self.posters[which],
            values=self.values[which],
            done=self.done[which],
            quality=self.quality[which],
        )


@dataclass(frozen=True, slots=True)
class Ratings:
    """Who says what about whom; members and identities by their numbers among all."""

    raters: Ints
    subjects: Ints
    good: Bools

    @classmethod
    def nothing(cls) -> "Ratings":
        """Return no rating."""
        empty = np.zeros(0, np.int64)
        return cls(empty, empty, np.zeros(0, bool))

    @classmethod
    def joined(cls, *parts: "Ratings") -> "Ratings":
        """Return all of these."""
        return cls(
            np.concatenate([part.raters for part in parts]),
            np.concatenate([part.subjects for part in parts]),
            np.concatenate([part.good for part in parts]),
        )


@dataclass(frozen=True, slots=True)
class Traits:
    """What every member is, by its number."""

    owner: Ints
    """Which principal it belongs to."""
    breaks_leases: Bools
    disputes: Bools
    jobs_per_identity: Ints
    posts: Bools
    takes: Ints
    """How many times as many jobs it takes on in a round as an honest agent."""
    unseen: Floats
    """Which part of its bad work passes for good where nobody knows the answer."""

    @classmethod
    def joined(cls, parts: Sequence["Traits"], principals: Sequence[int]) -> "Traits":
        """Return all of these, one after the other; ``principals`` are how many each has."""
        starts = np.cumsum([0, *principals])
        owner = [part.owner + start for part, start in zip(parts, starts, strict=False)]
        rest = {one.name: np.concatenate([getattr(part, one.name) for part in parts])
                for one in fields(cls) if one.name != "owner"}  # fmt: skip
        return cls(owner=np.concatenate(owner), **rest)


class Adversary:
    """Does what an honest agent does; its kinds override what they do differently."""

    name: str
    group: ClassVar[Group] = "reputation"
    source: str
    """Where the attack is described."""
    observable: str
    """What a defender has to see in order to stop it."""
    metric: str
    """Which figure says how far it got."""

    identities: ClassVar[int] = 1
    """How many one principal has."""
    breaks_leases: ClassVar[bool] = False
    """Whether bad work is work that never comes: a breach, which weighs half."""
    disputes: ClassVar[bool] = False
    """Whether it contradicts every rejection, right or wrong."""
    jobs_per_identity: ClassVar[int] = 0
    """After so many jobs it comes back under a new identity; 0 for never."""
    takes: ClassVar[int] = 1
    """How many times as many jobs it takes on in a round as an honest agent."""
    unseen: ClassVar[float] = 0.0
    """Which part of its bad work passes for good where nobody knows the answer."""
    posts: ClassVar[bool] = False
    """Whether each principal posts a task in every round, for the honest to do."""

    def traits(self, principals: int) -> Traits:
        """Return what the members of so many principals are."""
        size = principals * self.identities
        return Traits(
            owner=np.arange(size) % max(principals, 1),
            breaks_leases=np.full(size, self.breaks_leases),
            disputes=np.full(size, self.disputes),
            jobs_per_identity=np.full(size, self.jobs_per_identity),
            posts=np.full(size, self.posts),
            takes=np.full(size, self.takes),
            unseen=np.full(size, self.unseen),
        )

    def delivers(self, jobs: Jobs) -> Bools:
        """Tell which jobs are done well."""
        return jobs.tried()

    def trades(self, crowd: Crowd) -> Ratings:
        """Return receipts between members: they sign both sides, for work that never was."""
        del crowd
        return Ratings.nothing()

    def claims(self, crowd: Crowd) -> Ratings:
        """Return what members say of others without having dealt with them.

        Systems that take anybody's rating take it; a receipt has to be signed by its subject.
        """
        del crowd
        return Ratings.nothing()

    def verdicts(self, crowd: Crowd, posters: Ints, workers: Ints, good: Bools) -> Ints:
        """Judge what the honest have done for members: 1 accepts, -1 rejects, 0 says nothing.

        Args:
            crowd: The members.
            posters: Members.
            workers: Who did the work, by their numbers among all.
            good: Whether it was done well.

        """
        del crowd, posters, workers
        return np.where(good, 1, -1).astype(np.int64)

    def sells_vouches(self, principals: int) -> tuple[Ints, Ints]:
        """Return which members vouch for which, at most three for each."""
        del principals
        none = np.zeros(0, np.int64)
        return none, none


def praise(crowd: Crowd, raters: Ints, each: int) -> Ratings:
    """Return good ratings by ``raters``, all members, about members at random, not themselves."""
    said_by, about = crowd.pairs(raters, each)
    keep = said_by != about
    said_by, about = said_by[keep] + crowd.first, about[keep] + crowd.first
    return Ratings(said_by, about, np.ones(len(said_by), bool))


def slander(crowd: Crowd, each: int) -> Ratings:
    """Return bad ratings by every member about honest agents at random."""
    said_by = np.repeat(np.arange(crowd.size) + crowd.first, each)
    about = crowd.rng.choice(crowd.honest, len(said_by))
    return Ratings(said_by, about, np.zeros(len(said_by), bool))


def members(crowd: Crowd) -> Ints:
    """Return all members."""
    return np.arange(crowd.size)
