"""Adversaries that do bad work: all of the time, or when it pays."""

from typing import ClassVar, Final

import numpy as np

from bazaar_simulations.adversaries.adversary import (
    Adversary,
    Bools,
    Crowd,
    Group,
    Ints,
    Jobs,
    Ratings,
    members,
)

_EIGENTRUST: Final = "Kamvar, Schlosser & Garcia-Molina 2003"
_JOBS_THAT_FIT: Final = 3
_SURVEY: Final = "Hoffman, Zage & Nita-Rotaru 2009"


class Independent(Adversary):
    """Bad work always; says the contrary of what is true, and knows no accomplices."""

    name = "independent"
    source = f"{_EIGENTRUST}, threat model A"
    observable = "its rejected work"
    metric = "bad outcomes"

    def delivers(self, jobs: Jobs) -> Bools:
        return jobs.none()

    def claims(self, crowd: Crowd) -> Ratings:
        said_by = members(crowd) + crowd.first
        whole = crowd.first + crowd.size
        about = crowd.rng.integers(0, whole, len(said_by))
        keep = about != said_by
        return Ratings(said_by[keep], about[keep], about[keep] >= crowd.first)


class FalseCapability(Adversary):
    """Offers what it cannot do, and succeeds by luck, once in ten times."""

    name = "false capability"
    group: ClassVar[Group] = "work"
    source = _SURVEY
    observable = "its rejected work, and probes"
    metric = "bad outcomes"

    def delivers(self, jobs: Jobs) -> Bools:
        return np.asarray(jobs.crowd.rng.random(len(jobs.workers)) < 0.1)


class ClaimAndStall(Adversary):
    """Takes work and is never heard of again."""

    name = "claim and stall"
    group: ClassVar[Group] = "work"
    source = "Douceur 2002; leases of volunteer computing, Anderson 2004"
    observable = "a breach by the sequencer, at half the weight of a rejection"
    metric = "bad outcomes"
    breaks_leases = True

    def delivers(self, jobs: Jobs) -> Bools:
        return jobs.none()


class LeaseHog(Adversary):
    """Takes five times what it can do, does that well, and sits on the rest till its lease ends."""

    name = "lease hog"
    group: ClassVar[Group] = "work"
    source = "Anderson 2004 (hoarding of work units in volunteer computing)"
    observable = "breaches beside good work"
    metric = "bad outcomes; failed awards"
    breaks_leases = True
    takes = 5

    def delivers(self, jobs: Jobs) -> Bools:
        return np.asarray(jobs.tried() & (_place_among_own(jobs.workers) < _JOBS_THAT_FIT))


class FalseCompletion(Adversary):
    """Hands in at once what looks like a result; half passes where nobody knows the answer."""

    name = "false completion"
    group: ClassVar[Group] = "work"
    source = "Golle & Mironov 2001 (uncheatable distributed computations)"
    observable = "probes: committed answers show what looks right and is not"
    metric = "bad outcomes"
    unseen = 0.5

    def delivers(self, jobs: Jobs) -> Bools:
        return jobs.none()


class Plagiarist(Adversary):
    """Hands in what others found: right in a probe, which comes again, else three times in ten."""

    name = "plagiarist"
    group: ClassVar[Group] = "work"
    source = "Sarmenta 2002 (spot-checking must not be recognisable)"
    observable = "work for others that is worse than probes are"
    metric = "bad outcomes"

    def delivers(self, jobs: Jobs) -> Bools:
        if jobs.is_probe:
            return ~jobs.none()
        return np.asarray(jobs.crowd.rng.random(len(jobs.workers)) < 0.3)


class Disputer(Independent):
    """Bad work always, and contradicts every rejection: a dispute takes .7 of its weight."""

    name = "disputer"
    group: ClassVar[Group] = "work"
    source = "our own: the price of giving the accused a voice"
    observable = "its rejected work, at three tenths of the weight"
    metric = "bad outcomes"
    disputes = True


class Overclaimer(Adversary):
    """Claims near certainty and does half of its work well."""

    name = "overclaimer"
    group: ClassVar[Group] = "work"
    source = "Brier 1950: claims are scored by what came of them"
    observable = "claims beside outcomes"
    metric = "bad outcomes"

    def delivers(self, jobs: Jobs) -> Bools:
        return np.asarray(jobs.crowd.rng.random(len(jobs.workers)) < 0.5)


class Traitor(Adversary):
    """Works well for a third of the time, and never again."""

    name = "traitor"
    source = _SURVEY
    observable = "the turn of its record"
    metric = "bad outcomes"

    def delivers(self, jobs: Jobs) -> Bools:
        is_early = jobs.crowd.round < jobs.crowd.rounds // 3
        return jobs.tried() if is_early else jobs.none()


class LongCon(Adversary):
    """Works well for half of the time, when its standing is best, and never again."""

    name = "long con"
    source = _SURVEY
    observable = "the turn of its record"
    metric = "bad outcomes"

    def delivers(self, jobs: Jobs) -> Bools:
        is_early = jobs.crowd.round < jobs.crowd.rounds // 2
        return jobs.tried() if is_early else jobs.none()


class OnOff(Adversary):
    """Ten jobs well, five badly, and so on."""

    name = "on-off"
    source = "Sun, Han, Yu & Liu 2006"
    observable = "a share of bad work that does not fall"
    metric = "bad outcomes"

    def delivers(self, jobs: Jobs) -> Bools:
        return np.asarray(jobs.done % 15 < 10)


class ValueImbalance(Adversary):
    """Good small work earns the standing for bad large work."""

    name = "value imbalance"
    source = f"{_SURVEY}; Kerr & Cohen 2009"
    observable = "the values at which it fails"
    metric = "value lost"

    def delivers(self, jobs: Jobs) -> Bools:
        return np.asarray((jobs.values <= 2.0) & jobs.tried())


class Discriminator(Adversary):
    """Works well for one half of the posters and badly for the other."""

    name = "discriminator"
    source = "Dellarocas 2000"
    observable = "raters who disagree about it, each consistently"
    metric = "bad outcomes"

    def delivers(self, jobs: Jobs) -> Bools:
        return np.asarray((jobs.posters % 2 == 0) & jobs.tried())


class Whitewasher(Adversary):
    """Bad work always, under a new identity after every three jobs."""

    name = "whitewasher"
    source = "Friedman & Resnick 2001"
    observable = "how newcomers have done before"
    metric = "bad outcomes; newcomers' share"
    jobs_per_identity = 3

    def delivers(self, jobs: Jobs) -> Bools:
        return jobs.none()


def _place_among_own(workers: Ints) -> Ints:
    """Return of each job how many that come before it have the same worker."""
    order = np.argsort(workers, kind="stable")
    ordered = workers[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    sizes = np.diff(np.append(starts, len(ordered)))
    places = np.empty(len(workers), np.int64)
    places[order] = np.arange(len(workers)) - np.repeat(starts, sizes)
    return places
