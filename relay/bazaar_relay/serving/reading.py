"""Answers out of the store: what the machine has to know, and what nodes ask for."""

from collections.abc import AsyncGenerator, Callable, Sequence

from bazaar_protocol import frames
from bazaar_protocol.errors import StorageError
from bazaar_protocol.evidence_kinds import Statement
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record, RecordId, seal
from bazaar_relay.machine.events import Read, ReadDone, ReadFailed, Resumed, Serve, Started
from bazaar_relay.machine.receipts import path_of
from bazaar_relay.machine.standing import standing_of
from bazaar_relay.machine.tasks import may_go_on
from bazaar_relay.machine.works import storage_error
from bazaar_relay.serving import reading_for_peers
from bazaar_relay.serving.paging import fitting
from bazaar_relay.storage.store import Store, Stored, read_record

_PAGE = 256


async def read(store: Store, wanted: Read) -> ReadDone | ReadFailed:
    """Answer the machine."""
    try:
        heads = await store.heads(wanted.heads) if wanted.heads else {}
        tasks = {task: await _task(store, task) for task in wanted.tasks}
        entries: dict[tuple[AgentId, int], Record] = {}
        for author, first, last in _runs(wanted.entries):
            for raw in await store.log(author, first=first, last=last, limit=last - first + 1):
                record = read_record(raw)
                entries[author, record.seq] = record
        letters = {agent: await store.senders(agent) for agent in wanted.letters}
        against = await _against(store, wanted.against) if wanted.against else {}
        stamps = {agent: await _stamps(store, agent) for agent in wanted.stamps}
    except StorageError as error:
        return ReadFailed(wanted.work, str(error))
    return ReadDone(wanted.work, heads, tasks, entries, letters, against, stamps)


async def start(store: Store, relay: AgentId, now_ms: int) -> Started:
    """Read what a relay has to know before it can serve.

    Raises:
        StorageError: The store cannot be read.

    """
    heads = await store.heads([relay])
    adverts = [read_record(raw) for raw in await _unexpired(store, "advert", now_ms)]
    against = await _against(store, [advert.author for advert in adverts])
    tasks = [
        Resumed(await _task(store, post.id), await store.audience(post.id))
        async for post in _posts(store, now_ms)
        if may_go_on(post, relay, now_ms)
    ]
    return Started(
        heads.get(relay, Head.empty()),
        await store.cursor(),
        [advert for advert in adverts if not standing_of(against[advert.author]).reason_to_shun],
        tasks,
        await _uncovered(store, relay),
        await reading_for_peers.sum_up(store),
    )


async def answer(
    store: Store, wanted: Serve, *, keys: Keypair, clock: Callable[[], int],
    is_left_out: Callable[[AgentId], bool] = lambda _: False,
) -> frames.FromRelay:  # fmt: skip
    """Answer a node; a page is as long as a frame. ``keys`` are those of the relay.

    ``is_left_out`` tells whose logs are not compared with those of peers.
    """
    frame = wanted.frame
    try:
        match frame:
            case frames.GetHead():
                return await _head(store, frame)
            case frames.GetLog():
                return await _log(store, frame)
            case frames.GetTask():
                return await _task_page(store, frame)
            case frames.GetInclusion():
                return await _included(store, frame)
            case frames.GetStatement():
                return await _stated(store, frame, keys, clock)
            case _:
                return await reading_for_peers.answer(store, frame, is_left_out)
    except StorageError as error:
        return storage_error(frame.request, str(error))


async def _stamps(store: Store, agent: AgentId) -> list[Record]:
    """Return what an agent has shown of work; who publishes hundreds has the oldest counted."""
    wanted = Filter(kinds=("stamp",), authors=(agent,))
    found, _ = await store.scan([wanted], after=0, limit=_PAGE)
    return [read_record(stored.raw) for stored in found]


async def _head(store: Store, wanted: frames.GetHead) -> frames.Segment:
    author = AgentId(wanted.author)
    head = (await store.heads([author])).get(author)
    if head is None:
        return frames.Segment(wanted.request, (), 0, more=False)
    raws = await store.log(author, first=head.seq, last=head.seq, limit=1)
    return frames.Segment(wanted.request, tuple(raws), 0, more=False)


async def _log(store: Store, wanted: frames.GetLog) -> frames.Segment:
    first, last = max(1, wanted.first), wanted.last
    raws = await store.log(AgentId(wanted.author), first=first, last=last, limit=_PAGE)
    page = raws[: fitting(raws)]
    is_cut = len(page) < len(raws) or (len(raws) == _PAGE and first + _PAGE <= last)
    return frames.Segment(wanted.request, tuple(page), 0, more=is_cut)


async def _task_page(store: Store, wanted: frames.GetTask) -> frames.Segment:
    found = await store.task(RecordId(wanted.task), after=wanted.after, limit=_PAGE)
    page = found[: fitting([stored.raw for stored in found])]
    cursor = page[-1].cursor if page else wanted.after
    is_cut = len(page) < len(found) or len(found) == _PAGE
    return frames.Segment(wanted.request, tuple(one.raw for one in page), cursor, more=is_cut)


async def _included(store: Store, wanted: frames.GetInclusion) -> frames.Included | frames.Error:
    record = RecordId(wanted.id)
    receipt = await store.receipt(record)
    path = None if receipt is None else path_of(receipt, record)
    if receipt is None or path is None:
        return frames.Error(wanted.request, "not-found", "it is under no receipt of this relay")
    intake = await store.get(receipt.intake)
    assert intake is not None, "a receipt is an entry of a log, which keeps its entries"
    return frames.Included(wanted.request, intake, path.index, path.hashes)


async def _stated(
    store: Store, wanted: frames.GetStatement, keys: Keypair, clock: Callable[[], int]
) -> frames.Stated:
    author = AgentId(wanted.author)
    # Both heads are of one moment: else a receipt in between would make a liar of the relay.
    heads = await store.heads([author, keys.agent])
    head, own = heads.get(author), heads.get(keys.agent)
    own_seq = 0 if own is None else own.seq
    body = (
        Statement(author, 0, b"", own_seq)
        if head is None
        else Statement(author, head.seq, head.id, own_seq)
    )
    return frames.Stated(wanted.request, seal(keys, body, time_ms=clock()).raw)


def _runs(entries: Sequence[tuple[AgentId, int]]) -> list[tuple[AgentId, int, int]]:
    """Join entries that follow one another: each read costs a hop between threads."""
    runs: list[tuple[AgentId, int, int]] = []
    for author, seq in sorted(entries):
        if runs and runs[-1][0] == author and runs[-1][2] == seq - 1:
            runs[-1] = (author, runs[-1][1], seq)
        else:
            runs.append((author, seq, seq))
    return runs


async def _task(store: Store, task: RecordId) -> list[Record]:
    stored: list[Stored] = []
    after = 0
    while True:
        page = await store.task(task, after=after, limit=_PAGE)
        stored += page
        if len(page) < _PAGE:
            return [read_record(one.raw) for one in stored]
        after = page[-1].cursor


async def _against(store: Store, agents: Sequence[AgentId]) -> dict[AgentId, list[Record]]:
    found = await store.against(agents)
    return {agent: list(map(read_record, raws)) for agent, raws in found.items()}


async def _uncovered(store: Store, relay: AgentId) -> list[tuple[int, RecordId]]:
    """Return cursor and id of each record of others that is under no receipt yet."""
    uncovered: list[tuple[int, RecordId]] = []
    after = await store.covered()
    while after < await store.cursor():
        page, after = await store.scan([Filter()], after=after, limit=_PAGE)
        records = [(stored.cursor, read_record(stored.raw)) for stored in page]
        uncovered += [(cursor, one.id) for cursor, one in records if one.author != relay]
    return uncovered


async def _posts(store: Store, now_ms: int) -> AsyncGenerator[Record]:
    # Page by page, since most of them are over, and kept for many days.
    after = 0
    while page := await store.unexpired("post", now_ms=now_ms, after=after, limit=_PAGE):
        for stored in page:
            yield read_record(stored.raw)
        after = page[-1].cursor


async def _unexpired(store: Store, kind: str, now_ms: int) -> list[bytes]:
    raws: list[bytes] = []
    after = 0
    while True:
        page = await store.unexpired(kind, now_ms=now_ms, after=after, limit=_PAGE)
        raws += [one.raw for one in page]
        if len(page) < _PAGE:
            return raws
        after = page[-1].cursor
