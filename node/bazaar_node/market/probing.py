"""The poster's part in probes: when one is posted, and how its result is judged."""

from collections.abc import Sequence

from bazaar_node.market.events import Probed
from bazaar_node.market.ledger import Entry, Ledger
from bazaar_node.market.probes import Probe, Stranger
from bazaar_node.market.trust import Trust
from bazaar_node.market.turn import Turn
from bazaar_node.market.valuation import OpenBid, Valuation
from bazaar_protocol.evidence_kinds import Reveal
from bazaar_protocol.kinds import Deliver, Verdict
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.task import link_to

RIGHT = "the result is right"
WRONG = "the result is wrong: its hash is not that of the answer we knew"


class Prober:
    """Tries strangers with tasks whose answers we know."""

    def __init__(self, ledger: Ledger, valuation: Valuation, trust: Trust) -> None:
        self._ledger = ledger
        self._valuation = valuation
        self._trust = trust

    def get(self, task: RecordId) -> Probe | None:
        """Return the probe that a task of ours is, if it is one."""
        return self._trust.probes.get(task)

    def post_beside(self, turn: Turn, entry: Entry, bids: Sequence[OpenBid]) -> Entry | None:
        """Post a probe to a bidder for a task of ours of whom we know nothing, now and then."""
        if not self._trust.probes.canaries or self.get(entry.task.id) is not None:
            return None
        draft = self._trust.probes.draft(
            entry.task.terms,
            self._strangers(entry, bids, turn.now_ms),
            value=self._trust.experience.value,
            entropy=turn.pen.entropy,
        )
        if draft is None:
            return None
        record = turn.say(draft.post)
        posted = self._ledger.begin(turn, record, "poster")
        probe = draft.of(record.id)
        self._trust.probes.add(probe)
        turn.changes.append(Probed(probe))
        turn.note(record.id, "probe", "its answer is known", record=entry.task.id)
        return posted

    def verdict(self, probe: Probe, deliver: Record, epoch: int) -> Verdict:
        """Judge the result of a probe: by its hash alone."""
        assert isinstance(deliver.body, Deliver)
        is_right = deliver.body.hash == probe.digest
        reason = RIGHT if is_right else WRONG
        return Verdict(probe.task, link_to(deliver), epoch, is_right, reason, ())

    def reveal(self, probe: Probe, deliver: Record) -> Reveal:
        """Open the commitment in the post, so that anyone can check that we knew the answer."""
        return Reveal(probe.task, link_to(deliver), probe.salt, probe.digest)

    def _strangers(self, entry: Entry, bids: Sequence[OpenBid], now_ms: int) -> list[Stranger]:
        exposure = self._ledger.exposure
        return [
            Stranger(one.offer.worker, one.offer.terms.price, one.standing.admission)
            for one in self._valuation.weigh(entry.task.terms, bids, now_ms)
            if not one.standing.is_known
            and (one.objection is None or one.objection.kind == "score")
            and one.offer.worker != entry.task.worker
            and not exposure.given_to(one.offer.worker)
        ]
