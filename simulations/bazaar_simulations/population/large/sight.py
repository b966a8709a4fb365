"""What the honest think of those they meet.

Some of them are *watched*: they think what the product makes them think, with their walks, and
what they hear from others. The rest, the *bystanders*, go by what they have seen themselves and by
those whom their best workers vouch for. They are there so that the watched have a market around
them, with as much evidence, and as much competition for the good, as there would be.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from bazaar_reputation.credibility import SEED_EDGE
from bazaar_reputation.scores import FULL_WEIGHT, POSTER_KNOWN_LEAST
from bazaar_reputation.vouches import WEIGHT_LEAST
from bazaar_reputation.walk import RESTART
from bazaar_simulations.adversaries.adversary import Bools, Floats, Ints
from bazaar_simulations.population.defences import POSTER_SCORE_LEAST, SCORE_LEAST
from bazaar_simulations.population.evidence import Role
from bazaar_simulations.population.large.credit import Credit
from bazaar_simulations.population.large.first_meetings import FirstMeetings
from bazaar_simulations.population.large.hearing import Heard, are_among, hear, vouched_for
from bazaar_simulations.population.large.opinions import EMPTY, NOT_THERE
from bazaar_simulations.population.large.talk import Talk
from bazaar_simulations.population.large.town import LargeTown
from bazaar_simulations.population.large.walks import Voices, Walks, edges_of
from bazaar_simulations.population.standing import Formulas, Heard as Summed
from bazaar_simulations.population.town import SEEDS

BEST_KEPT: Final = 32
"""So many of the best that it knows an agent looks at when it asks for bids."""
ANSWERED_KEPT: Final = 5
"""And so many strangers for whom somebody answers."""

_BLOCK: Final = 4_096
_ALONE_MOST: Final = 8_192
"""So many egos are looked after by one thread; more by two."""
_FIRST_STEP: Final = FULL_WEIGHT * RESTART * (1.0 - RESTART)
"""What a rater weighs by the first step of a walk alone, of the probability of that step."""


@dataclass(frozen=True, slots=True)
class Watching:
    """How much of the work is done exactly."""

    watched: int = 200
    """How many egos are watched; the figures are theirs."""
    walks_every: int = 4
    """In how many rounds each of the watched follows its walk once."""
    reviews_every: int = 8
    """In how many rounds a bystander looks over whom it knows once."""
    deaf_below: float = 0.005
    """Whoever weighs less with a watched ego is not listened to."""


class Look(NamedTuple):
    """What egos think of some they meet, each of its own."""

    scores: Floats
    is_known: Bools
    is_vouched: Bools


class Sight:
    """What everybody honest thinks, brought up to date in each round.

    Args:
        town: Who there is.
        talk: What everybody says.
        watching: How much is done exactly.
        rng: Decides who is watched, and which strangers are asked.

    """

    def __init__(
        self, town: LargeTown, talk: Talk, watching: Watching, rng: np.random.Generator
    ) -> None:
        self._town = town
        self._talk = talk
        self._watching = watching
        self._rng = rng
        count = min(watching.watched, town.honest)
        self.watched = np.sort(rng.choice(town.honest, count, replace=False))
        """The numbers of the watched."""
        self._place = np.full(town.honest, NOT_THERE)
        self._place[self.watched] = np.arange(count)
        self._formulas = Formulas()
        self._walks = Walks(talk, np.arange(SEEDS), deaf_below=watching.deaf_below)
        self._met: dict[Role, FirstMeetings] = {
            "worker": FirstMeetings(town.honest), "poster": FirstMeetings(town.honest),
        }  # fmt: skip
        self._guests = np.full((town.honest, BEST_KEPT + ANSWERED_KEPT), EMPTY, np.int64)
        self._credit = Credit(town.honest)
        self._strong = np.zeros((town.honest, 0), bool)
        self._voices: dict[int, Voices] = {}
        self._heard: Heard
        nothing = np.zeros(0)
        self._heard_of_posters = Heard(town.size, np.zeros(0, np.int64), nothing, nothing)
        self._vouched: Ints
        self._shunned = np.zeros(0, np.int64)

    def refresh(self, number: int) -> None:
        """Bring it up to date, at the beginning of round ``number``."""
        every = self._watching.walks_every
        for turn in range(every):
            if number % every == turn or turn not in self._voices:
                self._voices[turn] = self._follow(turn)
        voices = _joined(list(self._voices.values()))
        self._heard = hear(self._talk, voices, self._town.vouches, "worker")
        self._vouched = vouched_for(voices, self._town.vouches, self._town.size)
        self._review(number)
        self._rank_heard()
        if self._talk.has_bad_posters:
            self._shunned = self._shun(voices)

    def guests(self, egos: Ints) -> Ints:
        """Return whom each may ask for a bid; ``EMPTY`` where there are fewer.

        First the best of those it knows, the best first; then strangers for whom somebody answers.
        """
        return self._guests[egos]

    def look(self, egos: Ints, others: Ints, role: Role = "worker") -> Look:
        """Return what each of ``egos`` thinks of its row of ``others``."""
        if len(egos) < _ALONE_MOST:
            return self._look(egos, others, role)
        # Each row stands for itself, and numpy lets threads run beside each other.
        half = len(egos) // 2
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(self._look, egos[:half], others[:half], role)
            return _stacked(self._look(egos[half:], others[half:], role), above=first.result())

    def _look(self, egos: Ints, others: Ints, role: Role) -> Look:
        opinions = self._talk.of_honest(role)
        places = opinions.places(egos, others)
        is_vouched = self._are_vouched(egos, others)
        rates = self._met[role].rates(egos)
        nothing = np.zeros(rates.shape)
        strange = self._formulas.lower(Summed(nothing, nothing), rates)
        scores = np.where(is_vouched, strange[:, 1:], strange[:, :1])
        is_known = np.zeros(others.shape, bool)
        is_met = places != NOT_THERE
        is_watched = self._place[egos] != NOT_THERE
        if role == "worker":
            is_met[is_watched] = True
        lines, columns = np.nonzero(is_met)
        good, bad = opinions.at(egos[lines], places[lines, columns])
        if role == "worker":
            heard = is_watched[lines]
            subjects = others[lines[heard], columns[heard]]
            good[heard], bad[heard] = self._heard.of(self._place[egos[lines[heard]]], subjects)
        prior = rates[lines, is_vouched[lines, columns].astype(np.int64)]
        summed = Summed(good, bad)
        scores[lines, columns] = self._formulas.lower(summed, prior)
        is_known[lines, columns] = summed.is_known
        return Look(scores, is_known, is_vouched)

    def declines(self, workers: Ints, posters: Ints) -> Bools:
        """Tell which workers do not work for a poster; the malicious do for everybody."""
        workers, posters = np.broadcast_arrays(workers, posters)
        answer = np.zeros(workers.shape, bool)
        if not self._talk.has_bad_posters:
            return answer
        if len(self._shunned):
            answer |= are_among(self._shunned, workers * self._town.size + posters)
        is_spent = np.append(self._credit.is_spent, np.False_)
        careful = np.nonzero(is_spent[np.minimum(workers, self._town.honest)] & ~answer)
        answer[careful] = ~self._are_good(workers[careful], posters[careful])
        return answer

    def meet(self, role: Role, egos: Ints, others: Ints, jobs: Floats) -> None:
        """Take note of what came of dealings, if they were the first of these two."""
        places = self._talk.of_honest(role).places(egos, others[:, None])[:, 0]
        is_first = (places == NOT_THERE) & (jobs != 0)
        egos, others, jobs = egos[is_first], others[is_first], jobs[is_first]
        is_vouched = self._are_vouched(egos, others[:, None])[:, 0]
        self._met[role].note(egos, is_vouched, jobs)

    def count(self, workers: Ints, posters: Ints, accepted: Bools) -> None:
        """Take note of results of the honest that were accepted, or came to nothing."""
        self._credit.note(workers, accepted, self._are_fair(workers, posters))

    def _are_fair(self, workers: Ints, posters: Ints) -> Bools:
        """Tell of which posters a worker knows that they have accepted results of its own."""
        opinions = self._talk.of_honest("poster")
        places = opinions.places(workers, posters[:, None])[:, 0]
        good, _ = opinions.at(workers, places)
        return np.asarray((places != NOT_THERE) & (good > 0))

    def _are_good(self, workers: Ints, posters: Ints) -> Bools:
        """Tell of which posters a worker knows anything good, from whomever."""
        owners = self._place[workers]
        good, _ = self._heard_of_posters.of(np.maximum(owners, 0), posters)
        is_heard = (owners != NOT_THERE) & (good >= POSTER_KNOWN_LEAST)
        return np.asarray(is_heard | self._are_fair(workers, posters))

    def _follow(self, turn: int) -> Voices:
        places = np.arange(turn, len(self.watched), self._watching.walks_every)
        voices = self._walks.voices(self.watched[places])
        return Voices(places[voices.owners], voices.agents, voices.weights)

    def _review(self, number: int) -> None:
        """Let bystanders look over whom they know: who is best, and whose vouch counts."""
        opinions = self._talk.of_honest("worker")
        if self._strong.shape[1] < opinions.width:
            more = opinions.width - self._strong.shape[1]
            self._strong = np.pad(self._strong, [(0, 0), (0, more)])
        every = self._watching.reviews_every
        those = np.arange(number % every, self._town.honest, every)
        for start in range(0, len(those), _BLOCK):
            egos = those[start : start + _BLOCK]
            rows = opinions.rows(egos)
            edges = edges_of(rows)
            whole = edges.sum(axis=1, keepdims=True) + SEEDS * SEED_EDGE
            self._strong[egos] = _FIRST_STEP * edges / whole >= WEIGHT_LEAST
            seen = self.look(egos, rows.subjects.astype(np.int64))
            is_good = seen.is_known & (seen.scores > SCORE_LEAST) & (rows.subjects != EMPTY)
            scores = np.where(is_good, seen.scores, -np.inf)
            self._guests[egos, :BEST_KEPT] = _best(rows.subjects, scores)
            lines, places = np.nonzero(self._strong[egos])
            answered = self._town.vouches.by[rows.subjects[lines, places]].astype(np.int64)
            lines, strangers = np.repeat(lines, answered.shape[1]), answered.reshape(-1)
            self._keep_answered(egos, lines[strangers != EMPTY], strangers[strangers != EMPTY])

    def _rank_heard(self) -> None:
        owners, subjects = np.divmod(self._heard.keys, self._town.size)
        egos = self.watched[owners]
        rates = self._met["worker"].rates(egos)
        is_vouched = are_among(self._vouched, self._heard.keys)
        prior = np.where(is_vouched, rates[:, 1], rates[:, 0])
        summed = Summed(self._heard.good, self._heard.bad)
        scores = self._formulas.lower(summed, prior)
        keep = summed.is_known & (scores > SCORE_LEAST) & (subjects != egos)
        owners, subjects, scores = owners[keep], subjects[keep], scores[keep]
        order = np.lexsort((-scores, owners))
        owners, subjects = owners[order], subjects[order]
        rank = _rank(owners)
        best = np.full((len(self.watched), BEST_KEPT), EMPTY, np.int64)
        kept = rank < BEST_KEPT
        best[owners[kept], rank[kept]] = subjects[kept]
        self._guests[self.watched, :BEST_KEPT] = best
        self._keep_answered(self.watched, *np.divmod(self._vouched, self._town.size))

    def _keep_answered(self, egos: Ints, lines: Ints, strangers: Ints) -> None:
        """Keep some of those for whom somebody answers, and of whom nothing else is known.

        Args:
            egos: Who keeps them.
            lines: Which of ``egos`` it is, in order.
            strangers: Those who are answered for, with the known among them.

        """
        order = np.lexsort((self._rng.random(len(lines)), lines))
        lines, strangers = lines[order], strangers[order]
        is_known = self._are_known(egos, lines, strangers) | (strangers == egos[lines])
        lines, strangers = lines[~is_known], strangers[~is_known]
        rank = _rank(lines)
        kept = rank < ANSWERED_KEPT
        answered = np.full((len(egos), ANSWERED_KEPT), EMPTY, np.int64)
        answered[lines[kept], rank[kept]] = strangers[kept]
        self._guests[egos, BEST_KEPT:] = answered

    def _are_known(self, egos: Ints, lines: Ints, others: Ints) -> Bools:
        opinions = self._talk.of_honest("worker")
        places = opinions.places(egos[lines], others[:, None])[:, 0]
        good, bad = opinions.at(egos[lines], places)
        owners = self._place[egos[lines]]
        is_watched = owners != NOT_THERE
        heard = self._heard.of(owners[is_watched], others[is_watched])
        good[is_watched], bad[is_watched] = heard
        return np.asarray(((places != NOT_THERE) | is_watched) & Summed(good, bad).is_known)

    def _are_vouched(self, egos: Ints, others: Ints) -> Bools:
        opinions = self._talk.of_honest("worker")
        answer = np.zeros(others.shape, bool)
        for column in self._town.vouches.givers():
            vouchers = np.where(others == EMPTY, EMPTY, column[others]).astype(np.int64)
            answer |= vouchers == egos[:, None]
            places = opinions.places(egos, vouchers)
            lines, columns = np.nonzero(places != NOT_THERE)
            answer[lines, columns] |= self._strong[egos[lines], places[lines, columns]]
        watched = np.flatnonzero(self._place[egos] != NOT_THERE)
        if len(watched):
            keys = self._place[egos[watched], None] * self._town.size + others[watched]
            answer[watched] = are_among(self._vouched, keys)
        return answer

    def _shun(self, voices: Voices) -> Ints:
        """Return for whom somebody honest does not work: the worker times the size, plus it."""
        size, met = self._town.size, self._met["poster"]
        found: list[Ints] = []
        opinions = self._talk.of_honest("poster")
        everybody = np.flatnonzero(self._place == NOT_THERE)
        for start in range(0, len(everybody), _BLOCK):
            egos = everybody[start : start + _BLOCK]
            rows = opinions.rows(egos)
            summed = Summed(rows.good, rows.bad, POSTER_KNOWN_LEAST)
            # Who may vouch for whom is left out: few know the voucher of a stranger.
            lower = self._formulas.lower(summed, met.rates(egos)[:, :1])
            is_shunned = summed.is_known & (rows.bad > 0) & (lower < POSTER_SCORE_LEAST)
            is_shunned &= rows.subjects != EMPTY
            lines, places = np.nonzero(is_shunned)
            found.append(egos[lines] * size + rows.subjects[lines, places])
        self._heard_of_posters = heard = hear(self._talk, voices, self._town.vouches, "poster")
        owners, subjects = np.divmod(heard.keys, size)
        rates = met.rates(self.watched[owners])
        prior = np.where(are_among(self._vouched, heard.keys), rates[:, 1], rates[:, 0])
        summed = Summed(heard.good, heard.bad, POSTER_KNOWN_LEAST)
        is_shunned = summed.is_known & (heard.bad > 0)
        is_shunned &= self._formulas.lower(summed, prior) < POSTER_SCORE_LEAST
        found.append(self.watched[owners[is_shunned]] * size + subjects[is_shunned])
        return np.sort(np.concatenate(found))


def _stacked(below: Look, *, above: Look) -> Look:
    return Look(
        np.concatenate((above.scores, below.scores)),
        np.concatenate((above.is_known, below.is_known)),
        np.concatenate((above.is_vouched, below.is_vouched)),
    )


def _best(subjects: np.ndarray, scores: Floats) -> Ints:
    """Return the best of each row, the best first, and ``EMPTY`` where none is left."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :BEST_KEPT]
    found = np.full((len(scores), BEST_KEPT), EMPTY, np.int64)
    width = order.shape[1]
    found[:, :width] = np.take_along_axis(subjects, order, axis=1)
    found[:, :width][np.take_along_axis(scores, order, axis=1) == -np.inf] = EMPTY
    return found


def _rank(owners: Ints) -> Ints:
    """Return how many of the same owner stand before each; those of one stand together."""
    starts = np.searchsorted(owners, owners)
    return np.arange(len(owners)) - starts


def _joined(parts: list[Voices]) -> Voices:
    """Return all voices, those first that are the egos' own, in the order of the egos."""
    owners = np.concatenate([part.owners for part in parts])
    agents = np.concatenate([part.agents for part in parts])
    weights = np.concatenate([part.weights for part in parts])
    is_own = np.concatenate([
        np.arange(len(part.owners)) < len(np.unique(part.owners)) for part in parts
    ])  # fmt: skip
    order = np.lexsort((owners, ~is_own))
    return Voices(owners[order], agents[order], weights[order])
