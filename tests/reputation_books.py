"""Books made of true contracts, by the way that every record takes: contract, findings, tallies."""

from collections.abc import Iterable, Sequence

from tests.reputation_records import Party

from bazaar_protocol.records import Record
from bazaar_reputation.book import Book
from bazaar_reputation.contracts import Contract, attach, begin, findings, with_post
from bazaar_reputation.findings import Finding, StrandKey
from bazaar_reputation.strands import fold


def contract_of(records: Sequence[Record]) -> Contract:
    """Return the contract that these records make; there is one award among them."""
    contract = begin(next(record for record in records if record.kind == "award"))
    for record in records:
        contract = attach(with_post(contract, record), record)
    return contract


def findings_of(deals: Iterable[Sequence[Record]], parties: Iterable[Party]) -> list[Finding]:
    """Return what the deals say, when all that the parties have signed is known."""
    heads = {party.agent: party.head.seq for party in parties}
    contracts = [contract_of(records) for records in deals]
    return [one for contract in contracts for one in findings(contract, lambda a: heads.get(a, 0))]


def book_of_deals(
    deals: Iterable[Sequence[Record]], parties: Sequence[Party], ego: Party | None = None
) -> Book:
    """Return a book of all that the deals say; ``ego`` remembers whom it met."""
    strands: dict[StrandKey, list[Finding]] = {}
    book = Book()
    for one in findings_of(deals, parties):
        strands.setdefault(one.strand, []).append(one)
        if ego is not None and one.strand.rater == ego.agent:
            book.meet(one)
    for key, found in strands.items():
        book.put(key, fold(found))
    for party in parties:
        book.head(party.agent, party.head.seq)
    return book
