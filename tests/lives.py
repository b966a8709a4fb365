"""Agents that do whatever their keys allow: trade, vouch, fork, be reset, end and carry on.

Everything is signed by its author, so a node may come to hold any part of it, in any order.
"""

import random
from collections.abc import Sequence
from hashlib import sha256

from tests.evidence_records import OUTCOMES
from tests.reputation_records import Deal, Party, deal

from bazaar_protocol import evidence, kinds, limits, records
from bazaar_protocol.evidence_kinds import Intake, Reset, Succession, Vouch
from bazaar_protocol.identity import Keypair
from bazaar_protocol.log import recovery_hash
from bazaar_protocol.records import Record

NAMES = ("ada", "bo", "cy", "dee", "eve")
HEIRS = ("heir 1", "heir 2", "heir 3")


def recovery_of(party: Party) -> Keypair:
    return Keypair.from_name(f"recovery of {party.name}")


def mortal(name: str, time_ms: int = 1_000) -> Party:
    """Return an agent that can be ended by its recovery key."""
    party = Party(name, time_ms=time_ms)
    party.log.clear()
    party.say(kinds.Genesis(recovery_hash(recovery_of(party).agent)))
    return party


def end(old: Party, new: Party, last_seq: int, *, time_ms: int = 1) -> Record:
    """Sign that ``old`` ended with an entry of its log, and that ``new`` carries on."""
    last_id = old.log[last_seq - 1].id if last_seq else b""
    body = Succession(old.agent, last_seq, last_id, new.agent)
    return records.seal(recovery_of(old), body, time_ms=time_ms)


def stamped(party: Party) -> Record:
    """Have an agent do as much work as a stamp needs."""
    bits = limits.STAMP_BITS_MIN
    stamp = evidence.find_stamp(party.agent, day=1, bits=bits, numbers=range(1 << (bits + 8)))
    assert stamp is not None
    return party.say(stamp)


class Lives:
    """Some agents, and all that they have signed by chance.

    Args:
        chance: Decides.

    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.parties = [mortal(name) for name in NAMES]
        self.heirs = [mortal(name) for name in HEIRS]
        self.signed = [party.log[0] for party in (*self.parties, *self.heirs)]
        for heir in self.heirs:
            # Some take on a name, some another's, some none.
            old = chance.choice((*self.parties[1:], *self.heirs))
            self._say(heir, Vouch(old.agent, is_withdrawn=chance.random() < 0.2))

    def live(self, deeds: int) -> Sequence[Record]:
        """Have so many things happen; return all records."""
        ways = (
            self._trade, self._trade, self._trade, self._vouch, self._vouch, self._fork,
            self._reset, self._end, self._end, self._stamp,
        )  # fmt: skip
        for _ in range(deeds):
            self.chance.choice(ways)()
        return self.signed

    def _trade(self) -> None:
        poster, worker, relay = self.chance.sample((*self.parties, *self.heirs), 3)
        outcome = self.chance.choice(OUTCOMES)
        terms = Deal(relays=(relay,), has_canary=outcome == "revealed")
        self.signed += deal(poster, worker, outcome, terms)

    def _vouch(self) -> None:
        voucher, other = self.chance.sample((*self.parties, *self.heirs), 2)
        self._say(voucher, Vouch(other.agent, is_withdrawn=self.chance.random() < 0.3))

    def _fork(self) -> None:
        party = self.chance.choice(self.parties)
        if len(party.log) > 1:
            seq = self.chance.randrange(2, len(party.log) + 1)
            # It follows the same entry, which is a proof, or one that nobody has, which is none.
            prev = self.chance.choice((party.log[seq - 2].id, sha256(b"none").digest()))
            said = party.log[seq - 1].body
            body: kinds.Body = Intake(bytes(32), 9, 9)
            if isinstance(said, Vouch):
                body = Vouch(said.agent, is_withdrawn=not said.is_withdrawn)
            self.signed.append(records.seal(party.keys, body, time_ms=1, seq=seq, prev=prev))

    def _reset(self) -> None:
        party = self.chance.choice(self.parties)
        cut = self.chance.randrange(1, len(party.log) + 1)
        del party.log[cut:]
        self._say(party, Reset("an old backup"))

    def _end(self) -> None:
        old, new = self.chance.sample((*self.parties[1:], *self.heirs), 2)
        last_seq = self.chance.randrange(len(old.log) + 1)
        self.signed.append(end(old, new, last_seq, time_ms=self.chance.randrange(1, 9)))

    def _stamp(self) -> None:
        self.signed.append(stamped(self.chance.choice(self.parties)))

    def _say(self, party: Party, body: kinds.Body) -> None:
        self.signed.append(party.say(body))
