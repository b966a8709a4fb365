"""A contract and what it proves: an award, and all that was signed about it.

A contract is named by the id of its award. Each further record names, by its link, the record that
it answers, so it finds its contract without anybody's register (the half-blocks of TrustChain:
Otte, de Vos & Pouwelse 2020). A contract keeps the few first records of each author and kind, in
the order of their logs, and only ``findings`` asks what they mean together. So it does not matter
in which order they arrived.

Three rules keep a stranger's signature from weighing more than the stranger does:

- Nothing counts for a worker that has not signed the accept, nor for a poster that signed nothing.
- Each finding is one rater's word, decided by a record that this rater signed. What one signs
  neither strengthens nor weakens the word of another; only the worker's own dispute does, and the
  verdict on a result, which stands above its sequencer's breach.
- No times are read. What must have happened "by now" is counted in entries of a log.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from bazaar_protocol import limits
from bazaar_protocol.award import check_award
from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.evidence import check_reveal
from bazaar_protocol.evidence_kinds import Dispute, Reveal, Silence
from bazaar_protocol.fields import Link
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import (
    Accept,
    Award,
    Breach,
    Deliver,
    Post,
    Verdict,
    Withdraw,
)
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.task_state import award_of, link_to
from bazaar_reputation.findings import Finding
from bazaar_reputation.judgement import Case, judge


@dataclass(frozen=True, slots=True)
class Contract:
    """An award, its post when that is known, and the records that may count for it.

    Two contracts of the same records are equal, in whatever order these were attached.
    """

    award: Record
    post: Record | None = None
    records: tuple[Record, ...] = ()
    """By kind, author, position and id; the first few of each author's of each kind."""

    @property
    def id(self) -> RecordId:
        """A contract's id is that of its award."""
        return self.award.id

    @property
    def terms(self) -> Award:
        """What the award says."""
        return award_of(self.award)


def parent_of(record: Record) -> RecordId | None:
    """Return the id of the record that a piece of evidence hangs on.

    None for an award, on which the others hang, and for what is no evidence about a contract.
    """
    link_of = _LINKS.get(type(record.body))
    link = None if link_of is None else link_of(record.body)
    return None if link is None else RecordId(link.id)


def begin(award: Record) -> Contract:
    """Return the contract that ``award`` begins, of which nobody has signed anything else yet."""
    assert isinstance(award.body, Award)
    return Contract(award)


def belongs(contract: Contract, record: Record) -> bool:
    """Tell whether ``record`` is about this contract, by somebody entitled to say it.

    Whether it counts in the end depends on the others: what it hangs on may not have come yet.
    """
    rule = _RULES.get(type(record.body))
    return rule is not None and rule(contract, record, record.body)


def attach(contract: Contract, record: Record) -> Contract:
    """Return the contract with ``record``; the same object when that changes nothing.

    Raises nothing: what does not belong to the contract is no part of it. The records may come in
    any order, and a record before what it hangs on.
    """
    if not belongs(contract, record):
        return contract
    kind, author = record.kind, record.author
    same = [one for one in contract.records if one.kind == kind and one.author == author]
    if any(one.id == record.id for one in same):
        return contract
    if len(same) == limits.ANSWERS_PER_CONTRACT_MAX:
        if _order(record) > _order(same[-1]):
            return contract
        kept = [one for one in contract.records if one is not same[-1]]
    else:
        kept = list(contract.records)
    return Contract(contract.award, contract.post, tuple(sorted((*kept, record), key=_order)))


def with_post(contract: Contract, post: Record) -> Contract:
    """Return the contract with the post of its task; the same object for any other record."""
    is_its_post = (
        contract.post is None
        and isinstance(post.body, Post)
        and (post.id, post.author) == (contract.terms.task, contract.terms.poster)
    )
    return replace(contract, post=post) if is_its_post else contract


def findings(contract: Contract, heads: Callable[[AgentId], int]) -> tuple[Finding, ...]:
    """Return what ``contract`` says of its worker and of its poster, as far as it is known.

    ``heads`` returns the position of the newest entry that is known of an agent's log, 0 without
    one. The table, in thousandths of a job, before each rater's own weight:

    ==================== ======= ============ ==============================================
    why                  weight  rater        when
    ==================== ======= ============ ==============================================
    accepted              +1000  judge        it accepted the result
    rejected              -1000  judge        the worker went on for 16 entries and more
                                              without a dispute
    rejected, no word yet  -700  judge        until then
    rejected, disputed     -300  judge        the worker contradicts in its own log
    rejected, canary      -1000  poster       it opened its canary, and the result differs;
                                              beside the word of another judge the rest to
                                              -1000
    wrong hash            -1000  nobody       not the hash that the post asked for
    breach                 -500  sequencer    no verdict on a result
    silent                 -250  relay        it has heard nothing either; at most two
    accepted              +1000  worker       of the poster: its verdict came and was good
    rejected, disputed     -300  worker       of the poster
    no verdict             -500  worker       of the poster, 16 entries after its award
    unjust rejection      -1000  worker       of the poster: the result was what was asked
                                              for; nothing then counts for the worker
    ==================== ======= ============ ==============================================

    Those about one agent weigh 1,000 together at the most.
    """
    case = _read(contract)
    if case is None:
        return ()
    return judge(case, lambda agent, seq: heads(agent) >= seq)


def unsettled(contract: Contract) -> tuple[tuple[AgentId, int], ...]:
    """Return which logs decide what ``findings`` says next, and from which entry on.

    Once the newest entry known of one of them is at that position, they have to be asked again.
    """
    asked: list[tuple[AgentId, int]] = []

    def note(agent: AgentId, seq: int) -> bool:
        asked.append((agent, seq))
        return False

    case = _read(contract)
    if case is not None:
        judge(case, note)
    return tuple(asked)


def _read(contract: Contract) -> Case | None:
    """Choose the records that count; None when nothing can, above all without the accept."""
    by_kind: dict[str, list[Record]] = {}
    for record in contract.records:
        by_kind.setdefault(record.kind, []).append(record)
    accepts, delivers = by_kind.get("accept", []), by_kind.get("deliver", [])
    verdicts, breaches = by_kind.get("verdict", []), by_kind.get("breach", [])
    if not accepts or not (delivers or breaches):
        return None
    accept = accepts[0].body
    assert isinstance(accept, Accept)
    verdict = _first(verdicts, delivers)
    deliver = _find(verdict, delivers) if verdict is not None else _at(delivers)
    reveal = _opening(contract, by_kind.get("reveal", []), delivers)
    expected = _expected(contract)
    return Case(
        award=contract.award,
        terms=contract.terms,
        accept=accept,
        first=_at(delivers),
        deliver=deliver,
        wrong=next((one for one in delivers if expected and _hash(one) != expected), None),
        has_expected=deliver is not None and _hash(deliver) == expected,
        verdict=verdict,
        dispute=_first(by_kind.get("dispute", []), verdicts),
        breach=_first(breaches, accepts),
        silences=_silences(by_kind.get("silence", []), breaches),
        has_withdrawn="withdraw" in by_kind,
        reveal=reveal,
        answer=reveal.body.digest if reveal and isinstance(reveal.body, Reveal) else b"",
        is_signed_by_poster=_is_signed_by_poster(contract, verdict, reveal),
    )


def _first(answers: list[Record], parents: list[Record]) -> Record | None:
    return next((one for one in answers if _hangs(one, parents)), None)


def _hangs(answer: Record, parents: list[Record]) -> bool:
    """Tell whether ``answer`` names one of ``parents``.

    There is one of them in honest hands. Where an author has signed as many as are kept, the one
    meant may be among those that are not, and its many signatures must not void the answer.
    """
    is_one_of_many = len(parents) >= limits.ANSWERS_PER_CONTRACT_MAX
    return is_one_of_many or _find(answer, parents) is not None


def _find(answer: Record, parents: list[Record]) -> Record | None:
    link = _LINKS[type(answer.body)](answer.body)
    return next((one for one in parents if link_to(one) == link), None)


def _at(records: list[Record]) -> Record | None:
    return records[0] if records else None


def _silences(silences: list[Record], breaches: list[Record]) -> tuple[Record, ...]:
    """Return the first of each relay's, by the relays' ids."""
    of_relay: dict[AgentId, Record] = {}
    for one in silences:
        if _hangs(one, breaches):
            of_relay.setdefault(one.author, one)
    return tuple(of_relay.values())


def _opening(contract: Contract, reveals: list[Record], delivers: list[Record]) -> Record | None:
    return next((one for one in reveals if _hangs(one, delivers) and _opens(contract, one)), None)


def _opens(contract: Contract, reveal: Record) -> bool:
    assert isinstance(reveal.body, Reveal)
    if contract.post is None:
        return False
    try:
        check_reveal(contract.post, reveal.body)
    except MalformedRecord:
        return False
    return True


def _expected(contract: Contract) -> bytes:
    """Return the hash that the result must have; empty when there is none, or no post."""
    if contract.post is None:
        return b""
    assert isinstance(contract.post.body, Post)
    acceptance = contract.post.body.acceptance
    return acceptance.expected if acceptance.method == "hash" else b""


def _hash(deliver: Record) -> bytes:
    assert isinstance(deliver.body, Deliver)
    return deliver.body.hash


def _is_signed_by_poster(contract: Contract, verdict: Record | None, reveal: Record | None) -> bool:
    poster = contract.terms.poster
    signed = (contract.award, verdict, reveal)
    if any(one is not None and one.author == poster for one in signed):
        return True
    if contract.post is None:
        return False
    # Its post names who awards and who judges: an award that keeps to it was asked for.
    assert isinstance(contract.post.body, Post)
    try:
        check_award(contract.post.body, contract.post.author, contract.terms)
    except MalformedRecord:
        return False
    return contract.post.body.sequencer == contract.award.author


def _order(record: Record) -> tuple[str, AgentId, int, RecordId]:
    return record.kind, record.author, record.seq, record.id


def _is_worker(contract: Contract, record: Record, body: Any) -> bool:
    """Tell whether the worker says it, of this award."""
    terms = contract.terms
    said = (record.author, body.task, body.epoch, body.award)
    return said == (terms.worker, terms.task, terms.epoch, link_to(contract.award))


def _is_accept(contract: Contract, record: Record, body: Accept) -> bool:
    return _is_worker(contract, record, body) and body.terms == contract.terms.terms


def _is_verdict(contract: Contract, record: Record, body: Verdict) -> bool:
    terms = contract.terms
    said = (record.author, body.task, body.epoch, body.deliver.author)
    return said == (terms.judge, terms.task, terms.epoch, terms.worker)


def _is_breach(contract: Contract, record: Record, body: Breach) -> bool:
    terms = contract.terms
    said = (record.author, body.task, body.epoch, body.accept.author)
    return said == (contract.award.author, terms.task, terms.epoch, terms.worker)


def _is_dispute(contract: Contract, record: Record, body: Dispute) -> bool:
    terms = contract.terms
    said = (record.author, body.task, body.epoch, body.verdict.author)
    return said == (terms.worker, terms.task, terms.epoch, terms.judge)


def _is_reveal(contract: Contract, record: Record, body: Reveal) -> bool:
    terms = contract.terms
    said = (record.author, body.task, body.deliver.author)
    return said == (terms.poster, terms.task, terms.worker)


def _is_silence(contract: Contract, record: Record, body: Silence) -> bool:
    """Tell whether a relay says it that the award names and that has no part in the deal."""
    terms, sequencer = contract.terms, contract.award.author
    is_third = record.author not in {sequencer, terms.poster, terms.worker}
    said = (body.task, body.epoch, body.breach.author)
    return is_third and record.author in terms.relays and said == (
        terms.task, terms.epoch, sequencer,
    )  # fmt: skip


_LINKS: Final[dict[type, Callable[[Any], Link | None]]] = {
    Accept: lambda body: body.award,
    Deliver: lambda body: body.award,
    Withdraw: lambda body: body.award,
    Breach: lambda body: body.accept,
    Verdict: lambda body: body.deliver,
    Reveal: lambda body: body.deliver,
    Dispute: lambda body: body.verdict,
    Silence: lambda body: body.breach,
}
_RULES: Final[dict[type, Callable[[Contract, Record, Any], bool]]] = {
    Accept: _is_accept,
    Deliver: _is_worker,
    Withdraw: _is_worker,
    Breach: _is_breach,
    Verdict: _is_verdict,
    Reveal: _is_reveal,
    Dispute: _is_dispute,
    Silence: _is_silence,
}
