"""A node's dealings with one relay: what it tells us, and what we hand to it, in order."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from bazaar_host.addresses import Address
from bazaar_host.logs import logger
from bazaar_node.market.events import Arrived, KeepData, LetterArrived, RefusedByRelay
from bazaar_node.market.turn import Turn
from bazaar_node.network.relay_session import RelaySession
from bazaar_node.network.relayed.exchange import FEATURE, LinkExchange
from bazaar_node.storage.store import Parcel, RelayMark
from bazaar_protocol import frames, letters, limits
from bazaar_protocol.errors import (
    BadSignature,
    LinkClosed,
    MalformedRecord,
    Refused,
    StorageError,
    Unreachable,
)
from bazaar_protocol.evidence_kinds import Succession
from bazaar_protocol.records import unseal
from bazaar_protocol.sealing import open_sealed

if TYPE_CHECKING:
    from bazaar_node.network.relays import RelayOffice

HEARD_KINDS: Final = ("proof", "omission", "succession", "stamp")
"""What concerns everybody. A stamp is there for those who have never heard of its author."""
PARCELS_PER_TURN: Final = 128
RETRY_S: Final = 0.5
MAIL_TRIES_MAX: Final = 20
LETTERS_TRIED_AT_ONCE: Final = 16
GONE_STATUSES: Final = ("malformed", "signature", "too-large", "expired", "blocked", "stale")
_OUR_STORE: Final = "our own store failed, so the relay has to tell it again: {}"

log = logger(__name__)


class RelayClient:
    """Our dealings with one relay; the listener of its session."""

    def __init__(self, address: str, office: "RelayOffice") -> None:
        self.address = address
        self.agent = Address.parse(address).peer
        self.is_caught_up = False
        self.is_ready = False
        """We have checked that this relay knows nothing of our log that we do not."""
        self.trouble = ""
        """Why this relay is not used although it is connected; empty if it is."""
        self.mark = RelayMark(b"", 0, 0)
        self.session = RelaySession(office.transport, address, self, rng=office.rng)
        self.links = LinkExchange(self.session, office.keys, entropy=office.entropy)
        self.session.links = self.links
        self._office = office
        self._has_parcels = asyncio.Event()
        self._link = 0
        """Counts the links, since what an earlier one brought may still be under way."""
        self._newest: asyncio.Future[Turn] | None = None
        self._refused: deque[tuple[Parcel, int]] = deque(maxlen=limits.LETTERS_PER_AGENT_MAX)
        """Letters that the relay would not take, with how often they will have been tried."""

    @property
    def carries_links(self) -> bool:
        """Whether the relay says that it carries links between nodes."""
        welcome = self.session.welcome
        return welcome is not None and FEATURE in welcome.features

    def wake(self) -> None:
        """Look into the outbox again."""
        self._has_parcels.set()

    async def on_connected(self, session: RelaySession, welcome: frames.Welcome) -> None:
        """Check what the relay knows of us, then subscribe."""
        self._link += 1
        self._newest = None
        try:
            known = await self._office.check_head(self)
            session.has_tried.set()
            if self.trouble:
                log.warning("relay not used", relay=self.address, trouble=self.trouble)
                return
            await self._office.wait_for_others()
            await self._office.confront(self, known)
            await self._office.send_log(session, after=known)
            also = await self._office.also_hear()
            if welcome.store != self.mark.store:  # a new store: what we knew of it means nothing
                self._keep(RelayMark(welcome.store, 0, self.mark.acknowledged))
                await session.publish(await self._office.open_posts())
        except StorageError as error:
            raise LinkClosed(_OUR_STORE.format(error)) from error
        filters = [frames.Filter(to=(self._office.keys.agent,)), frames.Filter(kinds=HEARD_KINDS)]
        await session.subscribe([*filters, *also], self.mark.cursor)
        self.is_ready = True
        self._has_parcels.set()
        self._office.on_ready()

    async def on_event(self, session: RelaySession, cursor: int, raw: bytes) -> None:
        """Verify a record and hand it to the agent."""
        record = unseal(raw)
        if isinstance(record.body, Succession):
            try:
                await self._office.heirs.learn(record, session)
            except StorageError as error:
                raise LinkClosed(_OUR_STORE.format(error)) from error
        self._newest = await self._office.driver.tell(Arrived(record))
        self._newest.add_done_callback(partial(self._dealt_with, self._link, cursor))

    async def on_caught_up(self, session: RelaySession, cursor: int) -> None:
        """We know all that was addressed to us."""
        del session
        link = self._link
        if self._newest is not None:
            await asyncio.wait((self._newest,))
        self._read_up_to(link, cursor)
        self.is_caught_up = True
        self._office.on_moved()

    async def on_letter(self, session: RelaySession, number: int, sealed: bytes) -> None:
        """Read a letter, and let the relay forget it once what it brought is durable."""
        with suppress(MalformedRecord, BadSignature):  # then it is of no use to anybody
            sender, content = open_sealed(self._office.keys, sealed)
            letter = letters.decode_letter(content)
            try:
                turn = await self._office.driver.ask(LetterArrived(sender, letter))
            except StorageError as error:  # the relay still has it
                raise LinkClosed(_OUR_STORE.format(error)) from error
            try:
                for action in turn.actions:
                    if isinstance(action, KeepData):
                        await self._office.keep(action)
            except StorageError as error:  # it waits at the relay, and holds up nothing else
                log.warning("no room for a letter", relay=self.address, trouble=str(error))
                return
        await session.request(frames.Collect(0, (number,)))

    async def on_lagged(self, session: RelaySession, cursor: int) -> None:
        """Do nothing: the relay goes on out of its store."""

    async def on_disconnected(self, session: RelaySession, reason: str) -> None:
        """Wait for the session to dial again."""
        del session
        self.is_ready = self.is_caught_up = False
        self._office.on_moved()
        log.info("relay lost", relay=self.address, reason=reason)

    async def publish_forever(self) -> None:
        """Hand over the outbox, in order, as often as it takes."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S if self._refused else None):
                    await self._has_parcels.wait()
            self._has_parcels.clear()
            while self.is_ready:
                parcels = await self._office.outbox.after(self.mark.acknowledged, PARCELS_PER_TURN)
                if not parcels:
                    break
                try:
                    await self._hand_over(parcels)
                except (LinkClosed, Unreachable):
                    break  # on_connected wakes us again
                except (MalformedRecord, BadSignature) as error:
                    self.session.drop(error)
                    break
                except Refused:
                    await asyncio.sleep(RETRY_S)
            await self._mail_again()

    async def _hand_over(self, parcels: Sequence[Parcel]) -> None:
        """Send a run of records, or one letter, and take note of what the relay has."""
        for run in _runs(parcels):
            if run[0].to is not None:
                await self._mail(run[0], tries=1)
            else:
                statuses = await self.session.publish([parcel.raw for parcel in run])
                for parcel, status in zip(run, statuses, strict=True):
                    await self._settle(parcel, status)
            acknowledged = run[-1].number
            self._keep(RelayMark(self.mark.store, self.mark.cursor, acknowledged))

    async def _mail(self, letter: Parcel, tries: int) -> None:
        """Hand over a letter; one that the relay refuses waits aside and holds nothing up.

        An agent that never collects its letters has a full mailbox, and we cannot help that. What
        is mailed can be had in another way: data directly, and a lease by the next heartbeat.
        """
        assert letter.to is not None
        try:
            await self.session.request(frames.Mail(0, letter.to, letter.raw))
        except Refused as error:
            if tries < MAIL_TRIES_MAX:
                self._refused.append((letter, tries + 1))
            else:
                log.info("letter given up", relay=self.address, trouble=str(error))

    async def _mail_again(self) -> None:
        for _ in range(min(len(self._refused), LETTERS_TRIED_AT_ONCE)):
            letter, tries = self._refused[0]
            try:
                await self._mail(letter, tries)
            except (LinkClosed, Unreachable):
                return
            # Popped after the attempt, so that a lost link loses no letter.
            self._refused.popleft()

    async def _settle(self, parcel: Parcel, status: str) -> None:
        prefix = status.partition(":")[0]
        match prefix:
            case "accepted" | "duplicate":
                return
            case "gap":
                await self._office.send_log(self.session)
            case "fork":
                await self._office.check_fork(self.session, unseal(parcel.raw))
            case _ if prefix in GONE_STATUSES:
                await self._office.driver.tell(RefusedByRelay(unseal(parcel.raw), status))
            case _:  # rate-limited, storage: it may go through later
                raise Refused(prefix, status)

    def _dealt_with(self, link: int, cursor: int, answer: asyncio.Future[Turn]) -> None:
        """Move on once a record is durable; when it is not, have the relay tell it again."""
        if answer.cancelled():
            return
        if isinstance(answer.exception(), StorageError):
            if link == self._link:
                self._link += 1  # what came after it on this link does not count either
                self.session.drop(LinkClosed(_OUR_STORE.format(answer.exception())))
            return
        self._read_up_to(link, cursor)

    def _read_up_to(self, link: int, cursor: int) -> None:
        if link == self._link:
            self._keep(RelayMark(self.mark.store, cursor, self.mark.acknowledged))

    def _keep(self, mark: RelayMark) -> None:
        self.mark = mark
        self._office.driver.mark(self.address, mark)


def _runs(parcels: Sequence[Parcel]) -> Iterator[list[Parcel]]:
    """Split parcels, in order, into single letters and runs of records."""
    run: list[Parcel] = []
    for parcel in parcels:
        if parcel.to is None:
            run.append(parcel)
            continue
        if run:
            yield run
            run = []
        yield [parcel]
    if run:
        yield run
