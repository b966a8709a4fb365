"""A market of pure agents in one thread: what one says reaches all others at once."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from bazaar_node.market.agent import Agent
from bazaar_node.market.drafts import draft_offer, draft_post
from bazaar_node.market.events import (
    Action,
    AgentEvent,
    Arrived,
    Asked,
    Change,
    FetchInput,
    FetchResult,
    InputReady,
    Judged,
    LearnPost,
    LetterArrived,
    Logged,
    Noted,
    Outgoing,
    ResultArrived,
    Resumed,
    Ticked,
    WorkDone,
)
from bazaar_node.market.ledger import Entry
from bazaar_node.market.trust import Trust
from bazaar_node.market.turn import Pen, Turn
from bazaar_node.service import OfferRequest, PostRequest
from bazaar_protocol import letters
from bazaar_protocol.errors import BazaarError
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.kinds import Post
from bazaar_protocol.log import Head, recovery_hash
from bazaar_protocol.records import Record, RecordId, unseal
from bazaar_protocol.sealing import open_sealed
from bazaar_protocol.task import Task


def counting_entropy(name: str) -> "Iterator[int]":
    yield from range(1 << 30)


@dataclass
class Trader:
    """An agent, and everything it has said and wanted."""

    keys: Keypair
    agent: Agent
    changes: list[Change] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    is_cut_off: bool = False

    @property
    def log(self) -> list[Record]:
        return [change.record for change in self.changes if isinstance(change, Logged)]

    @property
    def notes(self) -> list[tuple[str, str]]:
        return [(note.what, note.note) for note in self.changes if isinstance(note, Noted)]


class Market:
    """Carries records and letters between traders; does the work at once unless told not to."""

    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000
        self.traders: dict[str, Trader] = {}
        self.works = True
        self.relay: AgentId | None = None
        """Who sequences the tasks that are to be sequenced by a relay."""
        self.unrouted: set[str] = set()
        """To whom the relay offers no posts."""
        self.judges: list[object] = []
        self._mail: deque[tuple[Trader, Outgoing]] = deque()

    def add(
        self, name: str, *, slots: int = 1, trust: Trust | None = None, **offer: object
    ) -> Trader:
        keys = Keypair.from_name(name)
        numbers = counting_entropy(name)
        pen = Pen(
            keys,
            Head.empty(),
            lambda size: sha256(name.encode() + next(numbers).to_bytes(8, "big")).digest()[:size],
        )
        genesis = pen.begin(recovery_hash(bytes(32)), self.now_ms)
        offers = {}
        if offer:
            drafted = draft_offer(OfferRequest(**offer))  # type: ignore[arg-type]
            offers[drafted.capability] = drafted
        trader = Trader(keys, Agent(pen, offers=offers, slots=slots, trust=trust))
        trader.changes.append(Logged(genesis))
        self.traders[name] = trader
        return trader

    def restart(self, name: str) -> None:
        """Give a trader a new agent, and have it go on."""
        self.rebuild(name)
        self.tell(name, Resumed())
        self.settle()

    def rebuild(self, name: str) -> None:
        """Give a trader a new agent, made of what is durable of the old one."""
        trader = self.traders[name]
        old = trader.agent
        live = [*old._ledger.live("poster"), *old._ledger.live("worker")]
        trader.agent = Agent(
            old.pen,
            [Entry(entry.task, entry.role) for entry in live],
            opened=old._ledger.opened,
            offers=old.offers,
            slots=old.slots,
            trust=old.trust,
        )

    def post(self, name: str, *, canary: bytes = b"", **request: object) -> RecordId:
        poster = self.traders[name]
        body = draft_post(
            PostRequest(**request),  # type: ignore[arg-type]
            poster=poster.keys.agent,
            relay=self.relay,
            addresses=(),
            nonce=str(len(poster.changes)),
            canary=canary,
        )
        task = self.tell(name, Asked(body)).begun()
        self.settle()
        return task

    def task(self, name: str, task: RecordId) -> Task:
        entry = self.traders[name].agent.entry(task)
        assert entry is not None
        return entry.task

    def tell(self, name: str, event: AgentEvent) -> Turn:
        trader = self.traders[name]
        turn = trader.agent.handle(event, self.now_ms)
        trader.changes += turn.changes
        trader.actions += turn.actions
        self._mail.extend(
            (trader, change) for change in turn.changes if isinstance(change, Outgoing)
        )
        for action in turn.actions:
            self._act(name, action)
        return turn

    def settle(self) -> None:
        while self._mail:
            sender, sent = self._mail.popleft()
            for name, trader in self.traders.items():
                if trader is sender or trader.is_cut_off or sender.is_cut_off:
                    continue
                if sent.to is None:
                    record = unseal(sent.raw)
                    if name not in self.unrouted or not isinstance(record.body, Post):
                        self.tell(name, Arrived(record))
                elif sent.to == trader.keys.agent:
                    author, content = open_sealed(trader.keys, sent.raw)
                    self.tell(name, LetterArrived(author, letters.decode_letter(content)))

    def wait(self, seconds: float) -> None:
        """Let time pass, and everybody notice it as often as they want to."""
        end = self.now_ms + round(seconds * 1000)
        while True:
            moments = [
                (moment, name)
                for name, trader in self.traders.items()
                if (moment := trader.agent.wake_ms()) is not None
            ]
            moment, name = min(moments, default=(end + 1, ""))
            if moment > end:
                self.now_ms = end
                return
            self.now_ms = max(self.now_ms, moment)
            self.tell(name, Ticked())
            self.settle()

    def finish(self, name: str, task: RecordId, result: bytes = b"{}") -> None:
        epoch = self.task(name, task).epoch
        digest = sha256(result).digest()
        self.tell(name, WorkDone(task, epoch, digest, len(result), "application/json", result))
        self.settle()

    def judge(self, name: str, task: RecordId, *, accepted: bool = True) -> None:
        """Let the owner of a trader judge the result of its task."""
        deliver = self.task(name, task).deliver
        assert deliver is not None
        self.tell(name, Judged(task, deliver.id, accepted, "looked at"))
        self.settle()

    def offer(self, name: str, task: RecordId) -> None:
        """Let the relay offer a task to a trader that came later."""
        posts = (trader.agent.entry(task) for trader in self.traders.values())
        self.hear(name, next(entry.task.post for entry in posts if entry is not None))

    def hear(self, name: str, record: Record) -> None:
        """Let the relay hand a record to a trader."""
        self.tell(name, Arrived(record))
        self.settle()

    def _learn_post(self, name: str, task: RecordId, poster: AgentId) -> None:
        for trader in self.traders.values():
            entry = trader.agent.entry(task)
            if entry is not None and entry.task.poster == poster:
                self.tell(name, Arrived(entry.task.post))
                return

    def _act(self, name: str, action: Action) -> None:
        match action:
            case LearnPost(task, poster):
                self._learn_post(name, task, poster)
            case FetchInput(task, epoch, _):
                self.tell(name, InputReady(task, epoch))
            case FetchResult(task, deliver):
                digest: bytes = getattr(deliver.body, "hash")  # noqa: B009
                self.tell(name, ResultArrived(task, digest))
            case _:
                return


__all__ = ["BazaarError", "Market", "Trader"]
