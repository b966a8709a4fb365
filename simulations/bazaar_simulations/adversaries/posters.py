"""Adversaries that hurt those who work for them."""

import numpy as np

from bazaar_simulations.adversaries.adversary import (
    Adversary,
    Bools,
    Crowd,
    Ints,
    Jobs,
    Ratings,
    slander,
)


class Slanderer(Adversary):
    """Bad work always; gives the honest work and rejects whatever they deliver."""

    name = "slanderer"
    source = "Hoffman, Zage & Nita-Rotaru 2009; Dellarocas 2000"
    observable = "disputes, and that it contradicts everybody"
    metric = "bad outcomes; work for nothing"
    posts = True

    def delivers(self, jobs: Jobs) -> Bools:
        return jobs.none()

    def claims(self, crowd: Crowd) -> Ratings:
        return slander(crowd, 5)

    def verdicts(self, crowd: Crowd, posters: Ints, workers: Ints, good: Bools) -> Ints:
        del crowd, posters, workers
        return np.full(len(good), -1, np.int64)


class Retaliator(Adversary):
    """Does half of its work badly, and rejects the work of whoever complained of that."""

    name = "retaliator"
    source = "Resnick & Zeckhauser 2002"
    observable = "disputes"
    metric = "bad outcomes; work for nothing"
    posts = True

    def delivers(self, jobs: Jobs) -> Bools:
        return np.asarray(jobs.crowd.rng.random(len(jobs.workers)) < 0.5)

    def claims(self, crowd: Crowd) -> Ratings:
        said_by, about = np.nonzero(crowd.bad_met)
        return Ratings(said_by + crowd.first, about, np.zeros(len(about), bool))

    def verdicts(self, crowd: Crowd, posters: Ints, workers: Ints, good: Bools) -> Ints:
        complained = crowd.bad_met[posters, workers]
        return np.where(good & ~complained, 1, -1).astype(np.int64)


class NeverSigning(Adversary):
    """Works like anybody, takes the results of others and never judges them."""

    name = "never-signing poster"
    source = "Otte, de Vos & Pouwelse 2020"
    observable = "a log that goes on without a verdict"
    metric = "work for nothing"
    posts = True

    def verdicts(self, crowd: Crowd, posters: Ints, workers: Ints, good: Bools) -> Ints:
        del crowd, posters, workers
        return np.zeros(len(good), np.int64)
