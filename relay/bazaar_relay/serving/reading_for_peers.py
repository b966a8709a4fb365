"""Answers out of the store for relays that catch up with this one."""

from collections.abc import Callable
from typing import Final

from bazaar_protocol import frames, limits
from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.evidence_kinds import Proof
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import KINDS
from bazaar_protocol.peering_frames import GetHeads, GetLogs, GetLoose, Listed, LogHead
from bazaar_protocol.reconciliation import bounds_of
from bazaar_relay.machine.head_tree import HeadTree
from bazaar_relay.serving.paging import fitting
from bazaar_relay.storage.matching import accused_by
from bazaar_relay.storage.store import Store, read_record

_LOOSE: Final = tuple(sorted(kind.name for kind in KINDS.values() if not kind.is_logged))
_ALL: Final = bounds_of(b"")
_PAGE: Final = 4096


async def answer(
    store: Store, frame: GetHeads | GetLogs | GetLoose, is_left_out: Callable[[AgentId], bool]
) -> frames.FromRelay:
    """Answer a peer; the logs that are left out of the sums are left out of the heads as well.

    Raises:
        StorageError: The store cannot be read.

    """
    match frame:
        case GetHeads():
            return await _heads(store, frame, is_left_out)
        case GetLogs():
            return await _logs(store, frame)
        case GetLoose():
            return await _loose(store, frame)


async def sum_up(store: Store) -> HeadTree:
    """Return the sums of all logs in a store, but for those of convicted forkers.

    Raises:
        StorageError: The store cannot be read.

    """
    tree = HeadTree()
    for accused in await _convicted(store):
        tree.leave_out(accused, None)
    first, last = _ALL
    while page := await store.heads_between(first, last, limit=_PAGE):
        for author, head in page:
            tree.put(author, head)
        first = _after(page[-1][0])
    return tree


async def _convicted(store: Store) -> list[AgentId]:
    found: list[AgentId] = []
    after, newest = 0, await store.cursor()
    while after < newest:
        wanted = [Filter(kinds=("proof",))]
        page, after = await store.scan(wanted, after=after, limit=_PAGE)
        proofs = [read_record(stored.raw) for stored in page]
        accused = [accused_by(one) for one in proofs if isinstance(one.body, Proof)]
        found += [agent for agent in accused if agent is not None]
    return found


async def _heads(
    store: Store, wanted: GetHeads, is_left_out: Callable[[AgentId], bool]
) -> frames.FromRelay:
    try:
        first, last = bounds_of(wanted.prefix)
    except MalformedRecord as error:
        return frames.Error(wanted.request, error.code, str(error))
    if wanted.after:
        first = max(first, _after(wanted.after))
    limit = limits.HEADS_PER_FRAME_MAX
    heads: list[LogHead] = []
    while True:
        page = await store.heads_between(first, last, limit=limit + 1)
        heads += [
            LogHead(author, head.seq, head.id) for author, head in page if not is_left_out(author)
        ]
        is_last = len(page) <= limit
        if is_last or len(heads) > limit:  # else hardly anybody of that page counts
            more = len(heads) > limit or not is_last
            return Listed(wanted.request, tuple(heads[:limit]), more=more)
        first = _after(page[-1][0])


async def _logs(store: Store, wanted: GetLogs) -> frames.Segment:
    """Return entries of several logs, as far as a frame has room for them."""
    raws: list[bytes] = []
    is_cut = False
    for span in wanted.spans:
        left = limits.RECORDS_PER_FRAME_MAX - len(raws)
        if left <= 0:
            is_cut = True
            break
        author = AgentId(span.author)
        found = await store.log(author, first=span.first, last=span.last, limit=left)
        raws += found
        if fitting(raws) < len(raws) or (len(found) == left and span.last - span.first >= left):
            is_cut = True
            break
    return frames.Segment(wanted.request, tuple(raws[: fitting(raws)]), 0, more=is_cut)


async def _loose(store: Store, wanted: GetLoose) -> frames.Segment:
    filters = [Filter(kinds=_LOOSE)]
    page, reached = await store.scan(
        filters, after=wanted.after, limit=limits.RECORDS_PER_FRAME_MAX
    )
    count = fitting([stored.raw for stored in page])
    if count < len(page):
        reached = page[count - 1].cursor
    raws = tuple(stored.raw for stored in page[:count])
    return frames.Segment(wanted.request, raws, reached, more=reached < await store.cursor())


def _after(author: bytes) -> AgentId:
    """Return the lowest key beyond ``author``, as bytes are compared."""
    return AgentId(author + b"\x00")
