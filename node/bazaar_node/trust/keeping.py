"""From a verified record to all that follows from it, in the transaction that keeps it.

What is derived (contracts, findings, tallies, convictions) is a function of the set of records
that are kept: they may come in any order, again, and over any number of restarts.
"""

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from bazaar_node.trust import contract_rows, flaw_rows, records_kept, tallying
from bazaar_node.trust.authors import Authors
from bazaar_node.trust.histories import Circle, Flaw
from bazaar_protocol import evidence, limits
from bazaar_protocol.errors import Contradiction, Equivocation, RemoteError
from bazaar_protocol.evidence_kinds import Omission, Proof, Stamp, Succession, Vouch
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Award, Genesis, Post
from bazaar_protocol.log import HEIR_AGREES_AT, check_proof, check_succession, detect_fork
from bazaar_protocol.records import Record, RecordId, parse
from bazaar_reputation.findings import Finding, StrandKey
from bazaar_reputation.strands import Tally

_PLACED: Final = b"\x01"


@dataclass(frozen=True, slots=True)
class Way:
    """How records come to be kept."""

    ours: AgentId
    """Who we are: nobody accuses himself."""
    accuse: Callable[[Proof], Record]
    """Signs a proof of what we found."""
    circle: Circle
    """How near authors are to us that nobody knew before."""
    now_ms: int
    begins_run: bool = False
    """Whether the first record is where we choose to begin with its author's log."""


@dataclass(slots=True)
class News:
    """What a transaction has changed: for the book in memory, and for who passes it on."""

    count: int = 0
    """How many records are new."""
    tallies: dict[StrandKey, Tally | None] = field(default_factory=dict)
    heads: dict[AgentId, int] = field(default_factory=dict)
    met: list[Finding] = field(default_factory=list)
    """Findings of ours."""
    unmet: list[Finding] = field(default_factory=list)
    convicted: list[tuple[AgentId, int]] = field(default_factory=list)
    """Whom, and by which entry of its log."""
    vouches: list[Record] = field(default_factory=list)
    stamped: list[AgentId] = field(default_factory=list)
    ended: list[tuple[AgentId, AgentId | None, int]] = field(default_factory=list)
    """Whose log, who carries on, and the last entry that counts."""
    is_cut_short: bool = False
    """Whether more of the same waits."""
    has_words: bool = False
    """Whether there is something to tell all relays."""


def check_kept(record: Record) -> Record:
    """Check what makes a record true beyond its signature, as far as that needs nothing else.

    Raises:
        RemoteError: It is no evidence.

    """
    match record.body:
        case Proof() as proof:
            check_proof(proof)
        case Omission() as omission:
            evidence.check_omission(omission)
        case _:
            pass
    return record


def keep(db: sqlite3.Connection, records: Iterable[Record], way: Way) -> News:
    """Keep records that were verified (``check_kept`` too), and bring up to date what follows."""
    return _Keeping(db, way).keep(list(records))


def keep_again(db: sqlite3.Connection, records: Iterable[Record], way: Way) -> News:
    """Derive again what follows from records that are in the table already."""
    return _Keeping(db, way).keep(list(records), is_again=True)


class _Keeping:
    def __init__(self, db: sqlite3.Connection, way: Way) -> None:
        self._db = db
        self._way = way
        self._authors = Authors(db, way.ours, way.circle)
        self._touched: set[RecordId] = set()
        self._news = News()

    def keep(self, records: list[Record], *, is_again: bool = False) -> News:
        for record in records:
            if not records_kept.is_kept(record):
                continue
            if record.seq == 0:
                self._take_loose(record, is_again=is_again)
            else:
                self._take_entry(record, is_again=is_again)
        if self._way.begins_run and records:
            self._authors.begin_run(records[0])
        self._news.heads = self._authors.write()
        for agent, head in self._news.heads.items():
            self._touched |= tallying.overdue(self._db, agent, head)
        settled = tallying.settle(self._db, self._touched)
        self._news.tallies = settled.tallies
        ours = self._way.ours
        self._news.met = [one for one in settled.added if one.strand.rater == ours]
        self._news.unmet = [one for one in settled.dropped if one.strand.rater == ours]
        return self._news

    def _take_entry(self, record: Record, *, is_again: bool) -> None:
        others = records_kept.read_place(self._db, record.author, record.seq)
        if is_again:
            others = [other for other in others if other.id != record.id]
            self._touched |= contract_rows.attach(self._db, record)
        elif len(others) >= limits.ENTRIES_PER_PLACE_MAX or record in others:
            return
        else:
            contract = contract_rows.contract_of(self._db, record)
            if not records_kept.insert(self._db, record, contract):
                return
            if contract is not None:
                contract_rows.attach_children(self._db, contract, record.id)
                self._touched.add(contract)
        self._news.count += 1
        self._authors.add(record)
        self._look_for_fork(record, others)
        match record.body:
            case Award(task=task):
                self._place(task)  # its post has waited for it
            case Vouch(agent=agent, is_withdrawn=is_withdrawn):
                self._news.vouches.append(record)
                if record.seq == HEIR_AGREES_AT and not is_withdrawn:
                    self._take_successions(AgentId(agent))
            case _ if record.kind == "reset":
                flaw_rows.forget_unproved(self._db, record.author, record.seq)
            case Genesis():
                self._take_successions(record.author)
            case _:
                pass

    def _take_loose(self, record: Record, *, is_again: bool) -> None:
        if not self._has_room(record, is_again=is_again):
            return
        if not is_again and not records_kept.insert(self._db, record):
            return
        self._news.count += 1
        match record.body:
            case Post():
                contracts = contract_rows.contracts_of_task(self._db, record.id)
                self._touched |= contracts
                if contracts:
                    self._place(record.id)
            case Proof() as proof:
                entry = parse(proof.records[0])[0]
                self._convict(entry.author, "equivocation", entry.seq, record)
            case Omission() as omission:
                relay = parse(omission.statement)[0].author
                self._convict(relay, "omission", 1, record)
            case Stamp():
                self._place(record.id)
                row = (record.author, record.id)
                self._db.execute("INSERT OR IGNORE INTO stamp VALUES (?, ?)", row)
                self._news.stamped.append(record.author)
            case Succession():
                self._take_succession(record)
            case _:
                raise AssertionError(f"a {record.kind} is not kept")
        if not is_again:
            self._make_room_for_parked()

    def _has_room(self, record: Record, *, is_again: bool) -> bool:
        """Tell whether one more of these is wanted; one for each agent is as good as many."""
        match record.body:
            case Stamp() as stamp:
                is_enough = evidence.stamp_bits(record.author, stamp) >= limits.STAMP_BITS_MIN
                known = self._has("stamp", record.author)
                room = self._count("stamp") < limits.STAMPS_KEPT_MAX
                return is_enough and (is_again or (room and not known))
            case Proof() as proof:
                entry = parse(proof.records[0])[0]
                accused, place = entry.author, entry.seq
            case Omission() as omission:
                accused, place = parse(omission.statement)[0].author, 1
            case Succession() as succession:
                return is_again or self._has_room_for_end(succession)
            case _:
                return True
        if accused == self._way.ours:
            return False
        room = self._count("conviction") < limits.CONVICTIONS_KEPT_MAX
        is_news = self._is_earlier(accused, place)
        return is_again or (is_news and (room or self._has("author", accused)))

    def _has_room_for_end(self, body: Succession) -> bool:
        """Tell whether a succession may still matter: its owner can sign any number of them."""
        known = self._db.execute(
            "SELECT last_seq FROM log_end WHERE old = ?", (body.old,)
        ).fetchone()
        if known is None or body.last_seq < known[0]:
            return True
        (count,) = self._db.execute(
            """SELECT count(*) FROM evidence
               WHERE about = ? AND kind = 'succession' AND contract IS NOT NULL""",
            (body.old,),
        ).fetchone()
        return bool(body.last_seq == known[0] and count < limits.SUCCESSIONS_PER_AGENT_MAX)

    def _look_for_fork(self, record: Record, others: Iterable[Record]) -> None:
        for other in others:
            try:
                detect_fork(other, record)
            except Equivocation as error:
                self._prove(record, Proof("equivocation", error.proof))
            except Contradiction as error:
                if not self._was_reset(record):
                    self._note_fork(record, str(error))

    def _prove(self, record: Record, body: Proof) -> None:
        if record.author == self._way.ours:
            return
        try:
            check_proof(body)
        except RemoteError as error:  # it was checked by a later entry's signature, not its own
            self._note_fork(record, str(error))
            return
        self._note_fork(record, "two entries for one position, both signed: it is proved")
        if not self._is_earlier(record.author, record.seq):
            return
        proof = self._way.accuse(body)
        if records_kept.insert(self._db, proof):
            self._convict(record.author, "equivocation", record.seq, proof)
            self._db.execute("INSERT OR IGNORE INTO word VALUES (?, ?)", (proof.id, proof.raw))
            self._news.has_words = True

    def _convict(self, agent: AgentId, claim: str, place: int, record: Record) -> None:
        self._place(record.id)
        # An earlier entry proves all that a later one does: one proof for each is enough.
        self._db.execute(
            """DELETE FROM evidence WHERE seq = 0 AND id IN
               (SELECT record FROM conviction WHERE agent = ? AND place > ?)""",
            (agent, place),
        )
        self._db.execute(
            """INSERT INTO conviction VALUES (?, ?, ?, ?) ON CONFLICT (agent) DO UPDATE SET
               claim = excluded.claim, place = excluded.place, record = excluded.record
               WHERE excluded.place < place""",
            (agent, claim, place, record.id),
        )
        self._news.convicted.append((agent, place))
        if claim == "omission":
            note = "it stated less of a log than it had given its receipt for: it is proved"
            flaw = Flaw("omission", agent, place, place, record.author, note)
            flaw_rows.note(self._db, flaw, self._way.now_ms)

    def _take_successions(self, old: AgentId) -> None:
        """Look again at the ends of an identity, now that more is known about them."""
        rows = self._db.execute(
            "SELECT raw FROM evidence WHERE about = ? AND kind = 'succession'", (old,)
        )
        for (raw,) in rows.fetchall():
            self._take_succession(parse(raw)[0])

    def _take_succession(self, record: Record) -> None:
        body = record.body
        assert isinstance(body, Succession)
        for genesis in records_kept.read_place(self._db, AgentId(body.old), 1):
            try:
                check_succession(record, genesis)
            except RemoteError:  # it stays parked, in case there is another genesis
                continue
            self._place(record.id)
            self._end(body, record)

    def _end(self, body: Succession, record: Record) -> None:
        known = self._db.execute(
            "SELECT last_seq, NOT has_agreed, new, record FROM log_end WHERE old = ?", (body.old,)
        ).fetchone()
        old, new = AgentId(body.old), AgentId(body.new)
        has_agreed = self._has_agreed(old, new)
        # The end that leaves least of it holds, and of those one whose heir has agreed.
        if known is not None and known <= (body.last_seq, not has_agreed, body.new, record.id):
            return
        row = (old, new, body.last_seq, record.id, has_agreed)
        self._db.execute("INSERT OR REPLACE INTO log_end VALUES (?, ?, ?, ?, ?)", row)
        self._news.ended.append((old, new if has_agreed else None, body.last_seq))
        self._touched |= contract_rows.contracts_with(self._db, old, after=0)
        if known is not None and body.last_seq < known[0]:
            self._forget_later_ends(old, body.last_seq)

    def _forget_later_ends(self, old: AgentId, last_seq: int) -> None:
        rows = self._db.execute(
            """SELECT id, raw FROM evidence
               WHERE about = ? AND kind = 'succession' AND contract IS NOT NULL""",
            (old,),
        )
        for id_, raw in rows.fetchall():
            body = parse(raw)[0].body
            assert isinstance(body, Succession)
            if body.last_seq > last_seq:
                self._db.execute("DELETE FROM evidence WHERE id = ?", (id_,))

    def _has_agreed(self, old: AgentId, new: AgentId) -> bool:
        """Tell whether an heir answers for whom it succeeds: nobody is made one by another's word.

        A succession is signed by the recovery key alone, which could hang a bad name on anybody.
        """
        said = records_kept.read_place(self._db, new, HEIR_AGREES_AT)
        return any(_answers_for(record, old) for record in said)

    def _make_room_for_parked(self) -> None:
        self._db.execute(
            """DELETE FROM evidence WHERE number IN (SELECT number FROM evidence
               WHERE seq = 0 AND contract IS NULL ORDER BY number DESC LIMIT -1 OFFSET ?)""",
            (limits.EVIDENCE_PARKED_MAX,),
        )

    def _place(self, record: bytes) -> None:
        self._db.execute(
            "UPDATE evidence SET contract = ? WHERE id = ? AND seq = 0", (_PLACED, record)
        )

    def _note_fork(self, record: Record, note: str) -> None:
        flaw = Flaw("fork", record.author, record.seq, record.seq, b"", note)
        flaw_rows.note(self._db, flaw, self._way.now_ms)

    def _was_reset(self, record: Record) -> bool:
        row = self._db.execute(
            "SELECT 1 FROM evidence WHERE author = ? AND kind = 'reset' AND seq <= ?",
            (record.author, record.seq),
        ).fetchone()
        return row is not None

    def _is_earlier(self, agent: AgentId, place: int) -> bool:
        """Tell whether nothing proves as much of ``agent`` already.

        An early entry proves more than a late one, which may be a thief's.
        """
        row = self._db.execute("SELECT place FROM conviction WHERE agent = ?", (agent,)).fetchone()
        return row is None or place < row[0]

    def _has(self, table: str, agent: AgentId) -> bool:
        row = self._db.execute(
            f"SELECT 1 FROM {table} WHERE agent = ?",  # noqa: S608 - one of ours
            (agent,),
        ).fetchone()
        return row is not None

    def _count(self, table: str) -> int:
        (count,) = self._db.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
        return int(count)


def _answers_for(record: Record, agent: AgentId) -> bool:
    body = record.body
    return isinstance(body, Vouch) and body.agent == agent and not body.is_withdrawn
