"""Ending a stolen identity, and carrying on under a new one.

The recovery key signs which entry of the old log was the last honest one, and who carries on. That
is for ever: a relay keeps the first such word that it hears. So everything is made and durable
before it is said: the new keys, then the record, and after it the new store. A command that was
interrupted takes up the same record when it is typed again.
"""

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from bazaar_host import private_files
from bazaar_host.addresses import Address
from bazaar_host.clock import SteadyClock
from bazaar_host.key_folder import new_keys
from bazaar_host.settings import FILE_NAME
from bazaar_node.market.events import Logged, Outgoing
from bazaar_node.market.turn import Pen
from bazaar_node.network.calling import Call, call
from bazaar_node.network.ending import Ending, Inquiry
from bazaar_node.network.relay_session import RelaySession
from bazaar_node.recovering import OpenTransport
from bazaar_node.settings import NodeSettings
from bazaar_node.storage.store import NodeStore
from bazaar_protocol import identity
from bazaar_protocol.errors import BadSignature, ConfigError, KeyFileError, Refused, RemoteError
from bazaar_protocol.evidence_kinds import Succession, Vouch
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.log import Head, check_succession, recovery_hash
from bazaar_protocol.records import Record, seal, unseal

FOLDER: Final = "successor"
"""Where the new identity is made before it takes the old one's place."""
RECORD: Final = "succession.record"
_TAKEN: Final = ("accepted", "duplicate")


class Entry(msgspec.Struct, frozen=True):
    """An entry of the old log, for its owner to look at."""

    seq: int
    kind: str
    time_ms: int
    id: str


class Succeeded(msgspec.Struct, frozen=True):
    """What a succession says, and who heard it."""

    old: str
    new: str
    """Empty if it was only looked at."""
    home: str
    last: Entry
    """The last honest entry."""
    cut: tuple[Entry, ...]
    """Later ones that relays know."""
    told: dict[str, str]
    """What each relay answered, by address."""
    away: dict[str, str]
    """Why the others could not be asked."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the owner asked for."""

    old: AgentId | None = None
    """Whose key was stolen; the one of the store if nobody is named."""
    last_seq: int | None = None
    to: Path | None = None
    """The folder of the new identity; in place of the old one if none is named."""
    passphrase: bytes | None = None
    """Of the new keys."""


@dataclass(frozen=True, slots=True)
class _Heard:
    told: dict[str, str]
    away: dict[str, str]


async def look(
    node: NodeSettings, recovery: Keypair, wanted: Wanted, open_transport: OpenTransport
) -> Succeeded:
    """Return what ``succeed`` would say, and say nothing. It raises the same errors."""
    async with _asking(node, wanted, open_transport) as (inquiry, relays):
        ending = await inquiry.ending(wanted.last_seq)
        _sign(recovery, ending, new_keys().agent, 0)
    return _report(ending, None, node.home, _Heard({}, relays.away))


async def succeed(
    node: NodeSettings, recovery: Keypair, wanted: Wanted, open_transport: OpenTransport
) -> Succeeded:
    """End the identity of ``node``, which must not run, and have a new one carry on.

    Raises:
        Unreachable: No relay can be asked.
        KeyFileError: ``recovery`` is not the key that the old identity named when it began.
        OldBackup: The store is one, so it does not tell what the last honest entry was.
        LogForked: Nor do the relays, which contradict each other.
        NotFound: Nobody knows the old identity, or that entry.
        Refused: No relay took the succession; the next attempt says the same.
        StorageError: The node runs, or a store cannot be written.

    """
    folder = wanted.to or node.home / FOLDER
    async with _asking(node, wanted, open_transport) as (inquiry, relays):
        ending = await inquiry.ending(_said_before(folder, recovery) or wanted.last_seq)
        record, keys = _prepare(folder, recovery, ending, wanted.passphrase)
        told = await _publish(relays.sessions, record)
    await _begin(folder, record, keys)
    _settle(node, folder, is_in_place=wanted.to is None)
    return _report(ending, keys.agent, wanted.to or node.home, _Heard(told, relays.away))


@asynccontextmanager
async def _asking(
    node: NodeSettings, wanted: Wanted, open_transport: OpenTransport
) -> AsyncGenerator[tuple[Inquiry, Call]]:
    """Be able to ask the store, if there is one, and the relays about the old identity."""
    async with AsyncExitStack() as stack:
        store: NodeStore | None = None
        old, addresses = wanted.old, list(node.relays)
        if node.database_path.exists():
            opened = await stack.enter_async_context(NodeStore.open(node.database_path))
            addresses += await opened.marks()
            begun = [unseal(raw) for raw in await opened.log(1, 1)]
            if begun and old in {None, begun[0].author}:
                store, old = opened, begun[0].author
        if old is None:
            raise ConfigError(f"there is no log in {node.home}: say whose key it was with --old")
        # As nobody in particular: the old key is not ours alone any more, and may be lost.
        transport = await stack.enter_async_context(open_transport(new_keys()))
        known = [address for address in addresses if Address.parse(address).peer]
        relays = await stack.enter_async_context(call(transport, known))
        yield Inquiry(old, store, relays.sessions), relays


def _sign(recovery: Keypair, ending: Ending, new: AgentId, now_ms: int) -> Record:
    last, old = ending.last, ending.genesis.author
    body = Succession(old, last.seq, last.id, new)
    record = seal(recovery, body, time_ms=now_ms)
    try:
        check_succession(record, ending.genesis)
    except BadSignature as error:
        raise KeyFileError(
            f"this is not the recovery key that {identity.to_did(old)} named when it began"
        ) from error
    return record


def _said_before(folder: Path, recovery: Keypair) -> int | None:
    """Return the last honest entry that an interrupted command has named already."""
    path = folder / RECORD
    if not path.exists():
        return None
    record = unseal(path.read_bytes())
    if record.author != recovery.agent or not isinstance(record.body, Succession):
        raise ConfigError(f"{path} is of another recovery key; move {folder} out of the way")
    return record.body.last_seq


def _prepare(
    folder: Path, recovery: Keypair, ending: Ending, passphrase: bytes | None
) -> tuple[Record, Keypair]:
    """Make the new keys and the record, or take up those of an interrupted command."""
    paths, path = NodeSettings(home=folder), folder / RECORD

    def given() -> bytes:
        if passphrase is None:
            raise KeyFileError(f"{paths.keys.key_path} is locked: give its --new-passphrase-file")
        return passphrase

    if path.exists():
        record = unseal(path.read_bytes())
        return record, paths.keys.read(given)
    if paths.keys.key_path.exists() or paths.database_path.exists():
        raise ConfigError(f"an agent lives in {folder} already; choose another folder with --to")
    keys = new_keys()
    record = _sign(recovery, ending, keys.agent, SteadyClock().now_ms())
    paths.keys.write(keys, new_keys(), passphrase)
    with private_files.create(path) as file:
        file.write(record.raw)
    return record, keys


async def _publish(sessions: Sequence[RelaySession], record: Record) -> dict[str, str]:
    """Tell all relays that can be reached; the new node tells the others when it meets them.

    Raises:
        Refused: None of them took it.

    """
    told: dict[str, str] = {}
    for session in sessions:
        try:
            (told[session.address],) = await session.publish([record.raw])
        except RemoteError as error:
            told[session.address] = str(error)
    if not any(status.partition(":")[0] in _TAKEN for status in told.values()):
        reasons = "; ".join(f"{address}: {status}" for address, status in told.items())
        raise Refused("refused", f"no relay took the succession ({reasons})")
    return told


async def _begin(folder: Path, record: Record, keys: Keypair) -> None:
    """Begin the new log with a word for the old one, and have its node tell of the succession.

    The recovery key alone could name anybody as its heir, and hang a bad name on them; so whoever
    carries on says so in a log of their own, by a vouch.
    """
    assert isinstance(record.body, Succession)
    paths = NodeSettings(home=folder)
    recovery = paths.keys.recovery_agent()
    async with NodeStore.open(paths.database_path) as store:
        await store.claim_identity(keys.agent)
        if (await store.head()).seq == 0:
            pen = Pen(keys, Head.empty(), os.urandom)
            now_ms = SteadyClock().now_ms()
            genesis = pen.begin(recovery_hash(recovery), now_ms)
            assert isinstance(record.body, Succession)
            # Its record is carried on by one who takes it on with a signature of its own.
            agreed = pen.sign(Vouch(record.body.old, is_withdrawn=False), now_ms)
            await store.write([Logged(genesis), Logged(agreed), Outgoing(record.raw, None)])


def _settle(node: NodeSettings, folder: Path, *, is_in_place: bool) -> None:
    """Bring the new identity's files where its node will run."""
    if not is_in_place:
        if (node.home / FILE_NAME).exists() and not (folder / FILE_NAME).exists():
            with private_files.create(folder / FILE_NAME) as file:
                file.write((node.home / FILE_NAME).read_bytes())
        return
    new = NodeSettings(home=folder)
    # The key last: until then the next attempt goes on from here.
    for old, made in (
        (node.database_path, new.database_path),
        (node.keys.recovery_public_path, new.keys.recovery_public_path),
        (node.keys.recovery_key_path, new.keys.recovery_key_path),
        (node.keys.key_path, new.keys.key_path),
        (node.home / RECORD, folder / RECORD),
    ):
        if made.exists():
            _set_aside(old)
            made.rename(old)
    private_files.sync_folder(node.home)
    new.database_path.with_name(new.database_path.name + ".lock").unlink(missing_ok=True)
    folder.rmdir()


def _set_aside(path: Path) -> None:
    if not path.exists():
        return
    aside = path.with_name(path.name + ".old")
    number = 2
    while aside.exists():
        aside = path.with_name(f"{path.name}.old{number}")
        number += 1
    path.rename(aside)


def _report(ending: Ending, new: AgentId | None, home: Path, heard: "_Heard") -> Succeeded:
    return Succeeded(
        old=identity.to_did(ending.genesis.author),
        new="" if new is None else identity.to_did(new),
        home=str(home),
        last=_entry(ending.last),
        cut=tuple(_entry(record) for record in ending.cut),
        told=heard.told,
        away=heard.away,
    )


def _entry(record: Record) -> Entry:
    return Entry(record.seq, record.kind, record.time_ms, record.id.hex())
