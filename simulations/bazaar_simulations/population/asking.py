"""Whom posters ask for a bid by name: ``bazaar_node.market.invitations`` in arrays."""

import numpy as np

from bazaar_node.market.invitations import INVITED_MAX, TOP
from bazaar_simulations.adversaries.adversary import Bools, Floats, Ints
from bazaar_simulations.population.defences import View


def welcome(view: View, rows: Ints) -> tuple[Bools, Bools]:
    """Return, by poster and identity, who is good enough to be invited, and vouched strangers."""
    is_known = view.is_known[rows]
    return (view.scores[rows] > view.least) & is_known, view.is_vouched[rows] & ~is_known


def best_of(good: Bools, scores: Floats) -> Bools:
    """Return the best twelve of them for each poster."""
    order = np.argsort(-np.where(good, scores, -np.inf), axis=1, kind="stable")[:, :TOP]
    is_best = np.zeros(good.shape, bool)
    np.put_along_axis(is_best, order, values=True, axis=1)
    return is_best & good


def guests(rng: np.random.Generator, good: Bools, vouched: Bools) -> tuple[Ints, Bools]:
    """Return five that each poster invites, and which of these there are.

    They are drawn among the good; where these are too few, strangers that are vouched for follow.
    """
    draw = rng.random(good.shape)
    wish = np.where(good, draw + 1.0, np.where(vouched, draw, -1.0))
    picked = np.argpartition(-wish, INVITED_MAX, axis=1)[:, :INVITED_MAX]
    return picked, np.take_along_axis(wish, picked, axis=1) >= 0.0
