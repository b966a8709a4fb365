"""Small towns in which everybody has said something at random, and the product's scores of them."""

from typing import get_args

import numpy as np
from tests.scoring import Rating, agent

from bazaar_reputation.book import Book
from bazaar_reputation.findings import Role
from bazaar_reputation.scores import Scorer

SIZE = 14
SEEDS = np.arange(3)


def random_town(seed: int) -> tuple[list[Rating], np.ndarray]:
    """Return what everybody says of everybody, and who vouches for whom."""
    rng = np.random.default_rng(seed)
    goods = rng.integers(0, 9, (SIZE, SIZE))
    bads = rng.integers(0, 3, (SIZE, SIZE)) * (rng.random((SIZE, SIZE)) < 0.4)
    ratings = [
        Rating(rater, subject, float(goods[pair]), float(bads[pair]), role=role)
        for role in get_args(Role)
        for pair in np.ndindex(SIZE, SIZE)
        for rater, subject in [pair]
        if rater != subject and rng.random() < 0.3
    ]
    vouches = np.zeros((SIZE, SIZE))
    for voucher, vouched in rng.integers(0, SIZE, (8, 2)):
        if voucher != vouched and vouches[voucher].sum() < 3:
            vouches[voucher, vouched] = 1.0
    return ratings, vouches


def scorers_of(book: Book) -> list[Scorer]:
    """Return the scorer of every agent, as exact as can be."""
    seeds = [agent(number) for number in SEEDS]
    return [Scorer(book, agent(ego), seeds, epsilon=1e-9) for ego in range(SIZE)]
