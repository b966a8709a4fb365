"""From a heap of records to contracts: each record finds its own by what it hangs on.

``gather`` says what a store that took the same records one by one has to hold in the end.
"""

from collections import defaultdict
from collections.abc import Iterable

from bazaar_protocol.fields import Id
from bazaar_protocol.kinds import Award, Post
from bazaar_protocol.records import Record, RecordId
from bazaar_reputation.contracts import Contract, attach, begin, parent_of, with_post


class Parked:
    """Records whose turn comes when something else is known: what they hang on.

    Whoever fills it with a stranger's records has to bound how many it takes.
    """

    def __init__(self) -> None:
        self._waiting: dict[RecordId, dict[RecordId, Record]] = defaultdict(dict)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def park(self, parent: RecordId, record: Record) -> None:
        """Keep ``record`` until ``parent`` is known; a second time changes nothing."""
        self._waiting[parent][record.id] = record

    def release(self, parent: RecordId) -> tuple[Record, ...]:
        """Return those that waited for ``parent``, which is known now, and forget them."""
        return tuple(self._waiting.pop(parent, {}).values())


def gather(records: Iterable[Record]) -> dict[RecordId, Contract]:
    """Return the contracts in ``records`` by their ids, whatever else is among them.

    A record whose chain of links ends before an award is in none of them.
    """
    contracts: dict[RecordId, Contract] = {}
    contract_of: dict[RecordId, RecordId] = {}
    posts: dict[Id, Record] = {}
    parked = Parked()
    for arrived in records:
        turn = [arrived]
        while turn:
            record = turn.pop()
            if isinstance(record.body, Post):
                posts[record.id] = record
                continue
            parent = parent_of(record)
            if isinstance(record.body, Award):
                contracts.setdefault(record.id, begin(record))
                contract_of[record.id] = record.id
            elif parent is None:
                continue
            elif parent not in contract_of:
                parked.park(parent, record)
                continue
            else:
                name = contract_of[record.id] = contract_of[parent]
                contracts[name] = attach(contracts[name], record)
            turn += parked.release(record.id)
    return {name: _posted(contract, posts) for name, contract in contracts.items()}


def _posted(contract: Contract, posts: dict[Id, Record]) -> Contract:
    post = posts.get(contract.terms.task)
    return contract if post is None else with_post(contract, post)
