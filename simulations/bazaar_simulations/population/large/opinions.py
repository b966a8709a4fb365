"""What many say of a few others each: rows of the same width, that fade as their raters' logs grow.

A row takes its subjects in the order in which the rater first speaks of them. Once it is full, the
subject that was the first to come is forgotten for the one that comes. Fading costs nothing: the
numbers in a row stand for what they were worth when its rater's log began, and are brought up to
date where somebody reads them.
"""

from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bazaar_reputation.strands import BAD_KEPT, GOOD_KEPT
from bazaar_simulations.adversaries.adversary import Bools, Floats, Ints

EMPTY: Final = -1
"""Nobody: a place in a row that is free, or that belonged to somebody under an older name."""
NOT_THERE: Final = -1
"""No place: the rater says nothing of that subject."""

Small: TypeAlias = NDArray[np.int32]

_WIDTH_FIRST: Final = 16
_LEFT_LEAST: Final = 1e-9
_ENTRIES_PER_ROUND: Final = 2
_BLOCK: Final = 2_048
"""So many rows are looked through at once: they fit into a processor's cache."""


class Rows(NamedTuple):
    """What some raters say now, in jobs; subject ``EMPTY`` where there is nothing."""

    subjects: Small
    good: Floats
    bad: Floats


class Opinions:
    """What raters, numbered from 0, say of any subjects.

    Args:
        raters: How many there are.
        width_max: Of how many others each remembers anything; at most 254.

    """

    def __init__(self, raters: int, width_max: int) -> None:
        self._width_max = width_max
        shape = raters, min(_WIDTH_FIRST, width_max)
        self._subjects = np.full(shape, EMPTY, np.int32)
        self._good, self._bad = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self._next = np.zeros(raters, np.int64)
        """How many subjects each row has ever taken in."""
        self._left_good, self._left_bad = np.ones(raters), np.ones(raters)
        self._entries = np.zeros(raters, np.int64)
        self._fresh: list[tuple[Ints, Ints, Floats]] = []

    @property
    def width(self) -> int:
        """How many places each row has by now."""
        return self._subjects.shape[1]

    def rows(self, raters: Ints) -> Rows:
        """Return what ``raters`` say now."""
        return Rows(
            self._subjects[raters],
            self._good[raters] * self._left_good[raters, None],
            self._bad[raters] * self._left_bad[raters, None],
        )

    def at(self, raters: Ints, places: Ints) -> tuple[Floats, Floats]:
        """Return the good and the bad that stands in these places now."""
        good = self._good[raters, places] * self._left_good[raters]
        return good, self._bad[raters, places] * self._left_bad[raters]

    def breadth(self, raters: Ints) -> Ints:
        """Return of how many each says anything."""
        return np.asarray(np.minimum(self._next[raters], self.width))

    def places(self, raters: Ints, subjects: Ints) -> Ints:
        """Return where in the row of each rater its subjects stand, or ``NOT_THERE``.

        Args:
            raters: One for each row of ``subjects``.
            subjects: Some for each rater.

        """
        found = np.empty(subjects.shape, np.int64)
        for start in range(0, len(raters), _BLOCK):
            block = slice(start, start + _BLOCK)
            # Places by raters, so that what is compared at once is long and of one kind.
            rows = np.ascontiguousarray(self._subjects[raters[block]].T)
            asked = subjects[block].T.astype(np.int32, order="C")
            code, hit = np.zeros(asked.shape, np.uint8), np.empty(asked.shape, np.uint8)
            for place in range(int(self.breadth(raters[block]).max(initial=0))):
                np.equal(rows[place], asked, out=hit.view(np.bool_))
                np.multiply(hit, np.uint8(place + 1), out=hit)
                np.bitwise_or(code, hit, out=code)
            code[asked == EMPTY] = 0
            found[block] = code.T
        return found + NOT_THERE

    def say(self, raters: Ints, subjects: Ints, jobs: Floats) -> None:
        """Take note of findings: above 0 for good ones, below for bad ones, 0 for nothing.

        They count from the next ``pass_round`` on. Whoever praises itself says nothing.
        """
        keep = jobs != 0
        self._fresh.append((raters[keep], subjects[keep], jobs[keep]))

    def write(self, raters: Ints, entries: int) -> None:
        """Let the logs of ``raters`` grow; who stands there twice writes twice as much."""
        self._entries += entries * np.bincount(raters, minlength=len(self._entries))

    def pass_round(self) -> None:
        """Let what was said fade as far as logs have grown, and add what is new."""
        passed = self._entries // _ENTRIES_PER_ROUND
        self._entries -= passed * _ENTRIES_PER_ROUND
        self._left_good *= GOOD_KEPT**passed
        self._left_bad *= BAD_KEPT**passed
        self._bring_up_to_date(np.flatnonzero(self._left_good < _LEFT_LEAST))
        for raters, subjects, jobs in self._fresh:
            self._add(raters, subjects, jobs)
        self._fresh.clear()

    def forget(self, is_forgotten: Bools) -> None:
        """Forget what is said of those for whom it is true: they have new names now.

        Args:
            is_forgotten: By identity.

        """
        gone = is_forgotten[self._subjects] & (self._subjects != EMPTY)
        self._subjects[gone] = EMPTY
        self._good[gone] = self._bad[gone] = 0.0

    def clear(self, raters: Ints) -> None:
        """Forget what ``raters`` say."""
        self._subjects[raters] = EMPTY
        self._good[raters] = self._bad[raters] = 0.0
        self._next[raters] = 0
        self._entries[raters] = 0

    def _bring_up_to_date(self, raters: Ints) -> None:
        """Write down what is left, before the numbers get too large for their kind."""
        self._good[raters] *= self._left_good[raters, None].astype(np.float32)
        self._bad[raters] *= self._left_bad[raters, None].astype(np.float32)
        self._left_good[raters] = self._left_bad[raters] = 1.0

    def _add(self, raters: Ints, subjects: Ints, jobs: Floats) -> None:
        if not len(raters):
            return
        # One line for each pair, in the order of the raters.
        size = int(subjects.max()) + 1
        keys, inverse = np.unique(raters * size + subjects, return_inverse=True)
        good = np.bincount(inverse, np.maximum(jobs, 0.0), len(keys))
        bad = np.bincount(inverse, np.maximum(-jobs, 0.0), len(keys))
        raters, subjects = np.divmod(keys, size)
        places = self.places(raters, subjects[:, None])[:, 0]
        is_new = places == NOT_THERE
        places[is_new] = self._make_room(raters[is_new], subjects[is_new])
        # Who says more at once than a row can hold keeps the last of it.
        is_kept = self._subjects[raters, places] == subjects
        raters, places = raters[is_kept], places[is_kept]
        self._good[raters, places] += good[is_kept] / self._left_good[raters]
        self._bad[raters, places] += bad[is_kept] / self._left_bad[raters]

    def _make_room(self, raters: Ints, subjects: Ints) -> Ints:
        """Put ``subjects`` into the rows of ``raters``, which are in order; return where."""
        if not len(raters):
            return raters
        starts = np.flatnonzero(np.concatenate(([True], raters[1:] != raters[:-1])))
        sizes = np.diff(np.append(starts, len(raters)))
        rank = np.arange(len(raters)) - np.repeat(starts, sizes)
        places = self._next[raters] + rank
        self._next[raters[starts]] += sizes
        self._widen(int(places.max()) + 1)
        places %= self.width
        self._subjects[raters, places] = subjects
        self._good[raters, places] = 0.0
        self._bad[raters, places] = 0.0
        return places

    def _widen(self, wanted: int) -> None:
        width = self.width
        while width < min(wanted, self._width_max):
            width = min(2 * width, self._width_max)
        if width > self.width:
            more = [(0, 0), (0, width - self.width)]
            self._subjects = np.pad(self._subjects, more, constant_values=EMPTY)
            self._good, self._bad = np.pad(self._good, more), np.pad(self._bad, more)
