"""Keeps the book in memory equal to what the store holds."""

import sqlite3

from bazaar_node.trust import tallying
from bazaar_node.trust.keeping import News
from bazaar_protocol.evidence_kinds import Vouch
from bazaar_protocol.identity import AgentId
from bazaar_protocol.records import Record, parse
from bazaar_reputation.book import Book
from bazaar_reputation.findings import Finding


def read_contents(db: sqlite3.Connection, ours: AgentId) -> News:
    """Read everything a book has to hold, as if all of it had just happened."""
    news = News()
    db.execute("BEGIN")  # one state of everything, though others write
    news.tallies = dict(tallying.read_tallies(db))
    heads = db.execute("SELECT agent, head FROM author WHERE head > 0")
    news.heads = {AgentId(agent): head for agent, head in heads}
    news.met = tallying.read_findings(db, rater=ours)
    rows = db.execute("SELECT agent, place FROM conviction")
    news.convicted = [(AgentId(agent), place) for agent, place in rows]
    vouches = db.execute("SELECT raw FROM evidence WHERE kind = 'vouch'")
    news.vouches = [parse(raw)[0] for (raw,) in vouches]
    news.stamped = [AgentId(agent) for (agent,) in db.execute("SELECT agent FROM stamp")]
    ended = db.execute("SELECT old, new, last_seq, has_agreed FROM log_end")
    news.ended = [
        (AgentId(old), AgentId(new) if agreed else None, seq) for old, new, seq, agreed in ended
    ]
    return news


def tell(book: Book, news: News) -> None:
    """Tell a book what has changed."""
    for agent, head in news.heads.items():
        book.head(agent, head)
    for key, tally in news.tallies.items():
        if tally is None:
            book.drop(key)
        else:
            book.put(key, tally)
    for finding in news.unmet:
        _unmeet(book, finding)
    for finding in news.met:
        book.meet(finding)
    for agent, place in news.convicted:
        book.convict(agent, place)
    for record in news.vouches:
        _vouch(book, record)
    for agent in news.stamped:
        book.stamp(agent)
    for old, heir, last_seq in news.ended:
        book.succeed(old, heir, last_seq)


def _unmeet(book: Book, finding: Finding) -> None:
    strand = finding.strand
    assert strand.rater is not None
    book.unmeet(strand.rater, strand.role, finding.contract)


def _vouch(book: Book, record: Record) -> None:
    body = record.body
    assert isinstance(body, Vouch)
    agent = AgentId(body.agent)
    book.vouch(record.author, record.seq, agent, is_withdrawn=body.is_withdrawn)
