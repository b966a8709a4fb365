"""One step of an agent: what it signs, changes and wants done, collected in order."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from bazaar_node.market.events import Action, Began, Change, Logged, Noted, Outgoing
from bazaar_protocol import letters
from bazaar_protocol.errors import MalformedRecord
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.kinds import KIND_OF_BODY, Body, Genesis
from bazaar_protocol.letters import Letter
from bazaar_protocol.log import Head
from bazaar_protocol.records import NO_RECORD, Record, RecordId, seal
from bazaar_protocol.sealing import seal_to

Entropy = Callable[[int], bytes]
"""Draws that many random bytes; a simulation's draws are the same in each run."""

_ENTROPY_BYTES: Final = 32


class Pen:
    """An agent's right to sign: its keys and the head of its own log, of which there is one.

    Two pens for one identity would sign two entries for one position, so the store that the head
    comes from is locked by its process.
    """

    def __init__(self, keys: Keypair, head: Head, entropy: Entropy) -> None:
        self.keys = keys
        self.head = head
        self.entropy = entropy

    @property
    def agent(self) -> AgentId:
        """Whose pen it is."""
        return self.keys.agent

    def begin(self, recovery: bytes, now_ms: int) -> Record:
        """Sign the genesis, the first entry of an empty log."""
        assert self.head.seq == 0
        record = seal(self.keys, Genesis(recovery), time_ms=now_ms, seq=1, prev=NO_RECORD)
        self.head = Head.of(record)
        return record

    def sign(self, body: Body, now_ms: int) -> Record:
        """Sign ``body``: at the next position of the log if its kind is a logged one."""
        if not KIND_OF_BODY[type(body)].is_logged:
            return seal(self.keys, body, time_ms=now_ms)
        head = self.head
        record = seal(self.keys, body, time_ms=now_ms, seq=head.seq + 1, prev=head.id)
        self.head = Head.of(record)
        return record

    def seal(self, to: AgentId, letter: Letter) -> bytes:
        """Seal ``letter`` so that only ``to`` can read it."""
        content = letters.encode_letter(letter)
        return seal_to(to, self.keys, content, entropy=self.entropy(_ENTROPY_BYTES))


class Turn:
    """What an agent does about one event."""

    def __init__(self, pen: Pen, now_ms: int) -> None:
        self.pen = pen
        self.now_ms = now_ms
        self.changes: list[Change] = []
        self.actions: list[Action] = []
        self.refused: set[RecordId] = set()
        """Records that a task did not take."""

    def say(self, body: Body, *, not_before_ms: int = 0) -> Record:
        """Sign ``body`` and hand it to the relays."""
        record = self.pen.sign(body, max(self.now_ms, not_before_ms))
        if record.seq:
            self.changes.append(Logged(record))
        self.changes.append(Outgoing(record.raw, None))
        return record

    def mail(self, to: AgentId, letter: Letter) -> None:
        """Send ``letter`` to one agent, sealed; to one who could not read it, nothing is sent."""
        with suppress(MalformedRecord):  # a key that signs, and cannot be encrypted to
            self.changes.append(Outgoing(self.pen.seal(to, letter), to))

    def note(
        self, task: RecordId, what: str, note: str = "", *, agent: AgentId | None = None,
        epoch: int = 0, record: RecordId | None = None,
    ) -> None:  # fmt: skip
        """Tell the owner something about a task."""
        who = agent if agent is not None else self.pen.agent
        self.changes.append(Noted(task, self.now_ms, what, who, epoch, record, note))

    def begun(self) -> RecordId:
        """Return the task that this turn began."""
        return next(change.post.id for change in self.changes if isinstance(change, Began))

    def act(self, *actions: Action) -> None:
        """Have ``actions`` carried out after the changes are durable."""
        self.actions.extend(actions)
