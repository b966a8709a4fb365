"""What some egos hear of everybody: the testimony of their voices, in sparse arrays.

``bazaar_reputation.testimony`` says how evidence is added up, ``vouches`` who answers for whom.
"""

from dataclasses import dataclass

import numpy as np

from bazaar_reputation.testimony import SATURATION
from bazaar_reputation.vouches import FAILURES_SHARED, WEIGHT_LEAST
from bazaar_simulations.adversaries.adversary import Bools, Floats, Ints
from bazaar_simulations.population.evidence import Role
from bazaar_simulations.population.large.opinions import EMPTY
from bazaar_simulations.population.large.sums import looked_up, summed
from bazaar_simulations.population.large.talk import Talk
from bazaar_simulations.population.large.town import Vouches
from bazaar_simulations.population.large.walks import Voices


@dataclass(frozen=True, slots=True)
class Heard:
    """The weighted evidence of some egos about those of whom they have heard, in jobs."""

    size: int
    """How many identities there are."""
    keys: Ints
    """The place of ego times ``size``, plus the subject; in order."""
    good: Floats
    bad: Floats

    def of(self, owners: Ints, subjects: Ints) -> tuple[Floats, Floats]:
        """Return the good and the bad that each ego in ``owners`` has heard of a subject."""
        places, is_there = looked_up(self.keys, owners * self.size + subjects)
        if not len(self.keys):
            return np.zeros(subjects.shape), np.zeros(subjects.shape)
        return np.where(is_there, self.good[places], 0.0), np.where(is_there, self.bad[places], 0.0)


@dataclass(frozen=True, slots=True)
class _Words:
    """What voices say, one line for each voice and subject."""

    voices: Ints
    subjects: Ints
    good: Floats
    bad: Floats


def hear(talk: Talk, voices: Voices, vouches: Vouches, role: Role) -> Heard:
    """Return what egos hear of everybody from their voices."""
    size = talk.size
    words = _words(talk, voices, vouches, role)
    keys, (good, bad) = summed(words.voices * size + words.subjects, words.good, words.bad)
    who, subjects = np.divmod(keys, size)
    owners, weights = voices.owners[who], voices.weights[who]
    is_own = who < _egos(voices)
    good = np.where(is_own, good, weights * good / (1.0 + good / SATURATION))
    bad = np.where(is_own, bad, weights * bad / (1.0 + bad / SATURATION))
    keys, (good, bad) = summed(owners * size + subjects, good, bad)
    return Heard(size, keys, good, bad)


def vouched_for(voices: Voices, vouches: Vouches, size: int) -> Ints:
    """Return for whom somebody answers who weighs enough: keys as those of ``Heard``."""
    is_strong = voices.weights >= WEIGHT_LEAST
    vouched = vouches.by[voices.agents[is_strong]]
    lines, places = np.nonzero(vouched != EMPTY)
    return np.unique(voices.owners[is_strong][lines] * size + vouched[lines, places])


def are_among(keys: Ints, asked: Ints) -> Bools:
    """Tell which of ``asked`` are among ``keys``, which are in order."""
    return np.asarray(looked_up(keys, asked)[1])


def _words(talk: Talk, voices: Voices, vouches: Vouches, role: Role) -> _Words:
    rows = talk.rows(role, voices.agents)
    lines, places = np.nonzero((rows.subjects != EMPTY) & (rows.good + rows.bad > 0))
    subjects = rows.subjects[lines, places].astype(np.int64)
    good, bad = rows.good[lines, places], rows.bad[lines, places]
    if role == "poster":
        return _Words(lines, subjects, good, bad)
    is_bad = bad > 0
    blamed_by, blame = lines[is_bad], FAILURES_SHARED * bad[is_bad]
    parts = [_Words(lines, subjects, good, bad)]
    for column in vouches.of.T:
        voucher = column[subjects[is_bad]].astype(np.int64)
        answers = (voucher != EMPTY) & (voucher != voices.agents[blamed_by])
        nothing = np.zeros(int(answers.sum()))
        parts.append(_Words(blamed_by[answers], voucher[answers], nothing, blame[answers]))
    return _Words(
        np.concatenate([one.voices for one in parts]),
        np.concatenate([one.subjects for one in parts]),
        np.concatenate([one.good for one in parts]),
        np.concatenate([one.bad for one in parts]),
    )


def _egos(voices: Voices) -> int:
    """Return how many of the voices are egos' own: they come first."""
    return int(voices.owners.max(initial=-1)) + 1
