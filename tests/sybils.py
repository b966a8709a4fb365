"""Honest agents who trade, and a set of strangers who sign whatever may move a score.

What the honest signed, and the contracts in which they took part, are ``real``. What the strangers
sign on top, alone or about others, are ``lies``.
"""

import random
from typing import Final

from tests.evidence_records import sign
from tests.lives import end, mortal, stamped
from tests.reputation_records import RIGHT, WRONG, Deal, Outcome, Party, deal

from bazaar_protocol import kinds
from bazaar_protocol.evidence_kinds import Intake, Reset, Vouch
from bazaar_protocol.records import Record

OUTCOMES: Final[tuple[Outcome, ...]] = (
    "accepted", "accepted", "accepted", "rejected", "disputed", "revealed", "breached", "silent",
    "delivered", "withdrawn",
)  # fmt: skip
JUDGED: Final[tuple[Outcome, ...]] = ("accepted", "rejected", "disputed")
MOSTLY_GOOD: Final[tuple[Outcome, ...]] = (*OUTCOMES, *JUDGED[:1] * 10)


class Siege:
    """A few honest agents, the first of whom is ego, and their besiegers.

    Args:
        chance: Decides.
        honest: How many are honest.
        strangers: How many are not.

    """

    def __init__(self, chance: random.Random, honest: int, strangers: int) -> None:
        self.chance = chance
        self.honest = [mortal(name) for name in ("ada", "bo", "cy", "dee", "eve")[:honest]]
        self.strangers = [mortal(f"stranger {number}") for number in range(strangers)]
        self.real = [party.log[0] for party in (*self.honest, *self.strangers)]
        self.lies: list[Record] = []
        self.has_denied = False
        """Whether a stranger has contradicted what the honest say of it."""

    def trade(self, deals: int) -> None:
        """Have contracts in which somebody honest takes part; the strangers play their parts."""
        everybody = (*self.honest, *self.strangers)
        for _ in range(deals):
            if len(self.honest) > 2 and self.chance.random() < 0.2:
                self._trap()
                continue
            one, other = self.chance.sample(everybody, 2)
            if one in self.strangers and (other in self.strangers or self.chance.random() < 0.5):
                one, other = self.chance.choice(self.honest), one
            outcome = self.chance.choice(MOSTLY_GOOD)
            relays = tuple(self.chance.sample(everybody, 2))
            # Who lets a stranger judge another's work has handed over its own word on it.
            judge = self.chance.choice((None, None, *self.honest, other))
            self.real += deal(one, other, outcome, self._terms(outcome, relays, judge))

    def lie(self, deeds: int) -> None:
        """Have the strangers sign so many more things."""
        ways = (
            self._pump, self._pump, self._pump, self._slander, self._slander, self._open_canaries,
            self._deny, self._vouch, self._stamp, self._reset, self._hang, self._fork, self._hurry,
        )  # fmt: skip
        for _ in range(deeds):
            self.chance.choice(ways)()

    def _terms(self, outcome: Outcome, relays: tuple[Party, ...], judge: Party | None) -> Deal:
        has_canary = outcome == "revealed" or self.chance.random() < 0.4
        # What a poster committed to need not be right, and nobody honest delivers a wrong hash.
        result = self.chance.choice((RIGHT, WRONG))
        is_hashed = result == RIGHT and self.chance.random() < 0.3
        return Deal(
            relays=relays, judge=judge, has_canary=has_canary, result=result, is_hashed=is_hashed
        )

    def _trap(self) -> None:
        """Have a stranger commit to a wrong answer, which an honest judge does not confirm."""
        _, worker, judge = self.chance.sample(self.honest, 3)
        outcome = self.chance.choice(JUDGED)
        terms = Deal(judge=judge, has_canary=True, result=WRONG)
        self.real += deal(self._stranger(), worker, outcome, terms)

    def _stranger(self) -> Party:
        return self.chance.choice(self.strangers)

    def _pump(self) -> None:
        """Contracts among themselves: as posters, workers, judges, sequencers and relays."""
        poster, worker = self._stranger(), self._stranger()
        outcome = self.chance.choice(OUTCOMES)
        terms = Deal(
            relays=(self._stranger(), self.chance.choice(self.honest)),
            judge=self.chance.choice((None, self._stranger())),
            sequencer=self.chance.choice((None, self._stranger())),
            capability=self.chance.choice(("pdf.extract", "a.b")),
            has_canary=outcome == "revealed",
        )
        silent = terms.relays[:1] if outcome == "silent" else terms.relays
        for _ in range(self.chance.choice((1, 20))):
            self.lies += deal(poster, worker, outcome, Deal(**{**vars(terms), "relays": silent}))

    def _slander(self) -> None:
        """A contract of which an honest worker or poster has signed nothing."""
        poster, impostor, victim = self._stranger(), self._stranger(), self._victim()
        wanted = kinds.Acceptance("hash", RIGHT, None, 60_000)
        post = self.chance.choice((poster, impostor)).post(acceptance=wanted)
        granted = poster.award(
            post, victim.agent, judge=poster.agent, relays=(impostor.agent,),
            poster=self.chance.choice((poster.agent, self._victim().agent)),
        )  # fmt: skip
        accepted, delivered = impostor.accept(granted), impostor.deliver(granted, WRONG)
        broken = poster.breach(accepted)
        self.lies += [post, granted, accepted, delivered, broken, impostor.silence(broken)]
        self.lies += [poster.verdict(delivered, accepted=False), poster.reveal(delivered)]

    def _open_canaries(self) -> None:
        """Reveals of results that nobody asked for, and second verdicts."""
        for record in self._sample("deliver"):
            for liar in self.strangers:
                self.lies.append(liar.reveal(record, self.chance.choice((RIGHT, WRONG))))
                self.lies.append(liar.verdict(record, accepted=self.chance.random() < 0.5))

    def _deny(self) -> None:
        """Disputes of verdicts, and breaches and silences of leases that others gave."""
        for record in self._sample("verdict"):
            self.has_denied = True
            self.lies.append(self._stranger().dispute(record))
        for record in self._sample("accept"):
            self.lies.append(self._stranger().breach(record))
        for record in self._sample("breach"):
            self.lies.append(self._stranger().silence(record))

    def _vouch(self) -> None:
        other = self.chance.choice((*self.honest, *self.strangers))
        gone = self.chance.random() < 0.2
        self.lies.append(self._stranger().say(Vouch(other.agent, is_withdrawn=gone)))

    def _stamp(self) -> None:
        self.lies.append(stamped(self._stranger()))

    def _reset(self) -> None:
        self.lies.append(self._stranger().say(Reset("a backup")))

    def _hang(self) -> None:
        """Name somebody honest as the heir."""
        bad = self._stranger()
        self.lies.append(end(bad, self._victim(), len(bad.log)))

    def _fork(self) -> None:
        party = self._stranger()
        if len(party.log) > 1:
            seq = self.chance.randrange(2, len(party.log) + 1)
            self.lies.append(sign(party, Intake(bytes(32), 9, 9), seq))

    def _hurry(self) -> None:
        self.lies += self._stranger().go_on(self.chance.choice((2, 40)))

    def _victim(self) -> Party:
        return self.chance.choice(self.honest)

    def _sample(self, kind: str) -> list[Record]:
        found = [one for one in (*self.real, *self.lies) if one.kind == kind]
        return self.chance.sample(found, min(len(found), 6))
