"""Parts of several logs in one answer: which they are, and whether they are what was asked for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bazaar_protocol import limits
from bazaar_protocol.errors import PeerLied, RemoteError
from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import Head, check_segment
from bazaar_protocol.peering_frames import LogSpan
from bazaar_protocol.records import Record


@dataclass(frozen=True, slots=True)
class Taken:
    """What an answer holds."""

    entries: list[Record] = field(default_factory=list)
    """Verified, and each continuing what was known."""
    parted: list[Record] = field(default_factory=list)
    """The first entries of those logs that continue another entry than the one that was known."""
    left: list[LogSpan] = field(default_factory=list)
    """What was asked for and is not in it."""


def groups(spans: Iterable[LogSpan]) -> Iterator[tuple[LogSpan, ...]]:
    """Split spans so that about a frame of entries answers each group, in order."""
    group: list[LogSpan] = []
    entries = 0
    for span in _short(spans):
        count = span.last - span.first + 1
        is_full = entries + count > limits.RECORDS_PER_FRAME_MAX
        if group and (is_full or len(group) == limits.SPANS_PER_FRAME_MAX):
            yield tuple(group)
            group, entries = [], 0
        group.append(span)
        entries += count
    if group:
        yield tuple(group)


def check(spans: Sequence[LogSpan], raws: Sequence[bytes], known: Mapping[AgentId, Head]) -> Taken:
    """Verify the answer to a request for ``spans``: one signature for each log.

    Raises:
        PeerLied: It holds something else.

    """
    taken = Taken()
    rest = list(raws)
    heads = dict(known)
    for span in spans:
        count = span.last - span.first + 1
        part, rest = rest[:count], rest[count:]
        if len(part) < count:
            taken.left.append(LogSpan(span.author, span.first + len(part), span.last))
        if not part:
            continue
        author = AgentId(span.author)
        try:
            entries = check_segment(part, author=author)
        except RemoteError as error:
            raise PeerLied(error.code, f"of {span.author.hex()[:12]}: {error}") from error
        if entries[0].seq != span.first:
            raise PeerLied("malformed", f"entry {entries[0].seq} instead of {span.first}")
        head = heads.get(author)
        if head is not None and head.seq == span.first - 1 and head.id != entries[0].prev:
            taken.parted.append(entries[0])
        else:
            taken.entries.extend(entries)
            heads[author] = Head.of(entries[-1])
    if rest:
        raise PeerLied("malformed", f"{len(rest)} records more than were asked for")
    return taken


def _short(spans: Iterable[LogSpan]) -> Iterator[LogSpan]:
    size = limits.RECORDS_PER_FRAME_MAX
    for span in spans:
        for first in range(span.first, span.last + 1, size):
            yield LogSpan(span.author, first, min(first + size - 1, span.last))
