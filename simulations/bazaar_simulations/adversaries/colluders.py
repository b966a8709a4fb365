"""Adversaries that praise each other: rings, spies, Sybils, wash traders, sellers of vouches."""

from typing import ClassVar

import numpy as np

from bazaar_simulations.adversaries.adversary import (
    Bools,
    Crowd,
    Ints,
    Jobs,
    Ratings,
    members,
    praise,
    slander,
)
from bazaar_simulations.adversaries.workers import Independent, Traitor

_RATINGS: int = 5
"""How often a member praises another in each round."""


class Ring(Independent):
    """Bad work always; each member signs five receipts for others in every round."""

    name = "ring"
    source = "Kamvar, Schlosser & Garcia-Molina 2003, threat model B"
    observable = "that nobody outside says what they say"
    metric = "bad outcomes"

    def trades(self, crowd: Crowd) -> Ratings:
        return praise(crowd, members(crowd), _RATINGS)

    def claims(self, crowd: Crowd) -> Ratings:
        del crowd
        return Ratings.nothing()


class Camouflage(Ring):
    """A ring of which each job is done well by the toss of a coin."""

    name = "camouflage"
    source = "Kamvar, Schlosser & Garcia-Molina 2003, threat model C"
    observable = "a share of bad work too high for what others have"
    metric = "bad outcomes"

    def delivers(self, jobs: Jobs) -> Bools:
        return np.asarray(jobs.crowd.rng.random(len(jobs.workers)) < 0.5)


class Spies(Ring):
    """Every other member works well, and lends what it earns to the rest."""

    name = "spies"
    source = "Kamvar, Schlosser & Garcia-Molina 2003, threat model D"
    observable = "how those fail whom the spies praise"
    metric = "bad outcomes"

    def delivers(self, jobs: Jobs) -> Bools:
        return np.asarray((jobs.workers % 2 == 0) & jobs.tried())

    def trades(self, crowd: Crowd) -> Ratings:
        spies = members(crowd)[::2]
        said_by, about = crowd.pairs(spies, _RATINGS)
        about = np.minimum(about | 1, crowd.size - 1)
        keep = said_by != about
        said_by, about = said_by[keep] + crowd.first, about[keep] + crowd.first
        return Ratings(said_by, about, np.ones(len(said_by), bool))


class Sybil(Ring):
    """A ring in which each principal has ten identities."""

    name = "Sybil x10"
    source = "Douceur 2002; Cheng & Friedman 2005"
    observable = "that all their praise comes from nowhere"
    metric = "bad outcomes; damage per principal"
    identities = 10


class ManySybils(Sybil):
    """A ring in which each principal has thirty identities."""

    name = "Sybil x30"
    identities = 30


class CopycatRaters(Sybil):
    """Sybils that also rate the honest as the honest do, to be believed about each other."""

    name = "copycat raters"
    source = "Cheng & Friedman 2005; Srivatsa, Xiong & Liu 2005"
    observable = "that nobody has got good work from them"
    metric = "bad outcomes"
    posts = True

    def claims(self, crowd: Crowd) -> Ratings:
        said_by = np.repeat(members(crowd) + crowd.first, _RATINGS)
        about = crowd.rng.choice(crowd.honest, len(said_by))
        return Ratings(said_by, about, np.ones(len(said_by), bool))


class WashTrader(Independent):
    """Two and two members trade with each other only, thirty times in a round."""

    name = "wash trader"
    source = "Otte, de Vos & Pouwelse 2020"
    observable = "that one rater cannot count for more than four receipts"
    metric = "bad outcomes"

    def trades(self, crowd: Crowd) -> Ratings:
        said_by = np.repeat(members(crowd), 30)
        about = said_by ^ 1
        keep = about < crowd.size
        said_by, about = said_by[keep] + crowd.first, about[keep] + crowd.first
        return Ratings(said_by, about, np.ones(len(said_by), bool))

    def claims(self, crowd: Crowd) -> Ratings:
        del crowd
        return Ratings.nothing()


class VouchSeller(Ring):
    """One in four works well and sells vouches to the other three."""

    name = "vouch seller"
    source = "Yu, Kaminsky, Gibbons & Flaxman 2006 (attack edges)"
    observable = "how those fail whom it vouches for"
    metric = "bad outcomes"

    def delivers(self, jobs: Jobs) -> Bools:
        return np.asarray((jobs.workers % 4 == 0) & jobs.tried())

    def trades(self, crowd: Crowd) -> Ratings:
        del crowd
        return Ratings.nothing()

    def sells_vouches(self, principals: int) -> tuple[Ints, Ints]:
        buyers = np.array([one for one in range(principals) if one % 4], np.int64)
        return buyers - buyers % 4, buyers


class TraitorRing(Ring):
    """A ring whose members all work well for a third of the time, and never again."""

    name = "traitor + ring"
    source = "our own: standing that was earned once, lent for ever"
    observable = "the turn of their records, and that nobody outside goes on praising them"
    metric = "bad outcomes"

    def delivers(self, jobs: Jobs) -> Bools:
        return Traitor().delivers(jobs)


class SybilSlander(Sybil):
    """Ring, Sybils and slander together."""

    name = "ring + Sybil + slander"
    source = "our own: the three at once"
    observable = "that neither praise nor blame of theirs is anybody's who matters"
    metric = "bad outcomes; damage per principal"
    posts: ClassVar[bool] = True

    def claims(self, crowd: Crowd) -> Ratings:
        return slander(crowd, _RATINGS)

    def verdicts(self, crowd: Crowd, posters: Ints, workers: Ints, good: Bools) -> Ints:
        del crowd, posters, workers
        return np.full(len(good), -1, np.int64)
