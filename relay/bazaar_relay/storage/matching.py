"""Which records a filter asks for, and under which keys an index has to know them to find them.

``matches`` is the meaning. ``keys_of`` and ``walk_of`` are the way there: whatever matches a filter
stands under one of the keys that ``walk_of`` names, in order of cursors, so a store walks those
and checks only what the key does not say already.
"""

from typing import Final, TypeAlias

import msgspec

from bazaar_protocol.evidence_kinds import Dispute, Omission, Proof, Reveal, Silence, Succession
from bazaar_protocol.frames import Filter
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import (
    Accept,
    Advert,
    Award,
    Bid,
    Breach,
    Decline,
    Deliver,
    Heartbeat,
    Post,
    Verdict,
    Withdraw,
)
from bazaar_protocol.records import Record, RecordId, parse

Walk: TypeAlias = tuple[list[bytes], Filter | None]
"""Keys to walk, and what remains to be checked of each record found there, if anything."""

EVERYTHING: Final = b""
"""The key under which all records stand, and no routes."""

# A longer prefix is walked by its beginning and checked record by record: else one advert of many
# long names would fill the index with more bytes than it has itself.
_LEVELS_INDEXED: Final = 4
# Types looked up, and not instances asked: this is done several times for every record.
_ABOUT_A_TASK: Final[frozenset[type]] = frozenset(
    {
        Heartbeat, Bid, Award, Accept, Deliver, Verdict, Decline, Breach, Withdraw, Dispute,
        Reveal, Silence,
    }
)  # fmt: skip
_OFFERED: Final[frozenset[type]] = frozenset({Advert, Post})
_AGAINST_AN_AGENT: Final[frozenset[type]] = frozenset({Proof, Omission, Succession})


def matches(wanted: Filter, record: Record, audience: tuple[AgentId, ...]) -> bool:
    """Tell whether ``wanted`` asks for ``record``, which is addressed to ``audience``."""
    return (
        (not wanted.kinds or record.kind in wanted.kinds)
        and (not wanted.authors or record.author in wanted.authors)
        and (not wanted.tasks or task_of(record) in wanted.tasks)
        and (not wanted.to or any(agent in wanted.to for agent in audience))
        and (not wanted.tags or any(tag in wanted.tags for tag in _tags(record)))
        and (not wanted.capability or _offers(record, wanted.capability))
    )


def task_of(record: Record) -> RecordId | None:
    """Return the task that ``record`` is about; a post is about itself."""
    body = record.body
    if type(body) in _ABOUT_A_TASK:
        task: bytes = getattr(body, "task")  # noqa: B009 - the checkers do not know the type here
        return RecordId(task)
    return record.id if type(body) is Post else None


def accused_by(record: Record) -> AgentId | None:
    """Return whom ``record``, which was checked before, convicts, or whose identity it ends."""
    match record.body:
        case Proof(records=(first, *_)):
            return parse(first)[0].author
        case Omission(statement=statement):
            return parse(statement)[0].author
        case Succession(old=old):
            return AgentId(old)
        case _:
            return None


def is_within(capability: str, prefix: str) -> bool:
    """Tell whether ``capability`` is ``prefix`` or lies below it: whole names between dots."""
    return capability == prefix or capability.startswith(prefix + ".")


def keys_of(record: Record, audience: tuple[AgentId, ...]) -> list[bytes]:
    """Return the keys under which ``record`` is found, each once."""
    keys = [kind_key(record.kind), _author_key(record.author)]
    if audience:
        keys += map(_audience_key, dict.fromkeys(audience))
    task = task_of(record)
    if task is not None:
        keys.append(_task_key(task))
    kind = type(record.body)
    if kind in _OFFERED:
        keys += map(_tag_key, dict.fromkeys(_tags(record)))
        keys += dict.fromkeys(key for name in _capabilities(record) for key in _ancestor_keys(name))
    if kind in _AGAINST_AN_AGENT and (accused := accused_by(record)) is not None:
        keys.append(against_key(accused))
    return keys


def keys_of_route(record: RecordId, agent: AgentId) -> list[bytes]:
    """Return the keys under which a route of ``record`` to ``agent`` is found."""
    return [_audience_key(agent), route_key(record, agent)]


def route_key(record: RecordId, agent: AgentId) -> bytes:
    """Return the key of the only route of ``record`` to ``agent``."""
    return b"r" + record + agent


def kind_key(kind: str) -> bytes:
    """Return the key of all records of ``kind``."""
    return b"k" + kind.encode()


def against_key(agent: AgentId) -> bytes:
    """Return the key of what convicts ``agent``, or ends its identity."""
    return b"x" + agent


def walk_of(wanted: Filter) -> Walk:
    """Return the narrowest walk that finds everything ``wanted`` asks for."""
    if wanted.to:
        return _walk(wanted, to=[_audience_key(AgentId(agent)) for agent in wanted.to])
    if wanted.tasks:
        return _walk(wanted, tasks=[_task_key(task) for task in wanted.tasks])
    if wanted.authors:
        return _walk(wanted, authors=[_author_key(AgentId(author)) for author in wanted.authors])
    if wanted.tags:
        return _walk(wanted, tags=[_tag_key(tag) for tag in wanted.tags])
    if wanted.capability:
        key = _ancestor_keys(wanted.capability)[-1]
        if wanted.capability.count(".") < _LEVELS_INDEXED:
            return _walk(wanted, capability=[key])
        return [key], wanted
    if wanted.kinds:
        return _walk(wanted, kinds=[kind_key(kind) for kind in wanted.kinds])
    return [EVERYTHING], None


def _walk(wanted: Filter, **walked: list[bytes]) -> Walk:
    ((part, keys),) = walked.items()
    empty = "" if part == "capability" else ()
    rest = msgspec.structs.replace(wanted, **{part: empty})
    return list(dict.fromkeys(keys)), None if rest == _ANY else rest


def _tags(record: Record) -> tuple[str, ...]:
    match record.body:
        case Post(tags=tags):
            return tags
        case Advert(capabilities=capabilities):
            return tuple(tag for capability in capabilities for tag in capability.tags)
        case _:
            return ()


def _capabilities(record: Record) -> tuple[str, ...]:
    match record.body:
        case Post(capability=name):
            return (name,)
        case Advert(capabilities=capabilities):
            return tuple(capability.name for capability in capabilities)
        case _:
            return ()


def _offers(record: Record, prefix: str) -> bool:
    return any(is_within(name, prefix) for name in _capabilities(record))


def _ancestor_keys(capability: str) -> list[bytes]:
    names = capability.split(".")[:_LEVELS_INDEXED]
    return [b"c" + ".".join(names[: count + 1]).encode() for count in range(len(names))]


def _author_key(author: AgentId) -> bytes:
    return b"a" + author


def _audience_key(agent: AgentId) -> bytes:
    return b"t" + agent


def _task_key(task: bytes) -> bytes:
    return b"p" + task


def _tag_key(tag: str) -> bytes:
    return b"g" + tag.encode()


_ANY: Final = Filter()
