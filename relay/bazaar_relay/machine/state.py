"""What the relay's machine knows while it decides, and how each assumption is taken back.

A decision counts at once for the next one, long before it is durable. So whatever is changed here
for a group's sake leaves in ``group.undo`` how to change it back, for the case that the commit
fails.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bazaar_protocol import limits
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.log import Head
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.task import TERMINAL, Task, wake_ms
from bazaar_relay.machine.admission import Admission, Caller, Policy
from bazaar_relay.machine.adverts import Adverts
from bazaar_relay.machine.bounded import Bounded
from bazaar_relay.machine.events import Read, ReadDone, WorkId
from bazaar_relay.machine.gate import Gate
from bazaar_relay.machine.group import Group
from bazaar_relay.machine.mailboxes import Mailboxes
from bazaar_relay.machine.origins import Origins
from bazaar_relay.machine.promises import Promises
from bazaar_relay.machine.recent import Recent
from bazaar_relay.machine.router import Router
from bazaar_relay.machine.standing import Standing, standing_of
from bazaar_relay.machine.tasks import fold
from bazaar_relay.machine.timers import Timer, Timers
from bazaar_relay.machine.turns import Turns
from bazaar_relay.storage.store import NewLetter

Entropy = Callable[[], bytes]
"""Returns 32 fresh random bytes at each call: a key for sealing one letter."""


class Missing(Exception):
    """A decision needs what only the store has; it never leaves the machine."""

    def __init__(
        self,
        *,
        author: AgentId | None = None,
        task: RecordId | None = None,
        entry: tuple[AgentId, int] | None = None,
        standing: AgentId | None = None,
        stamps: AgentId | None = None,
    ) -> None:
        super().__init__()
        self.author = author
        self.task = task
        self.entry = entry
        self.standing = standing
        self.stamps = stamps

    def read(self, work: WorkId) -> Read:
        """Return the effect that gets it."""
        return Read(
            work,
            heads=() if self.author is None else (self.author,),
            tasks=() if self.task is None else (self.task,),
            entries=() if self.entry is None else (self.entry,),
            against=() if self.standing is None else (self.standing,),
            stamps=() if self.stamps is None else (self.stamps,),
        )


@dataclass(slots=True)
class Answered:
    """What the store has said for one piece of work and is not remembered beyond it."""

    no_tasks: dict[RecordId, None] = field(default_factory=dict)
    entries: dict[tuple[AgentId, int], Record | None] = field(default_factory=dict)
    early: dict[RecordId, Sequence[Record]] = field(default_factory=dict)
    """Records about tasks whose posts are not here (yet)."""


class RelayState:
    """Everything that decisions depend on."""

    def __init__(self, keys: Keypair, entropy: Entropy, policy: Policy) -> None:
        self.keys = keys
        self.entropy = entropy
        self.admission = Admission(policy)
        self.gate = Gate(policy, keys.agent)
        self.timers = Timers()
        self.adverts = Adverts()
        self.router = Router(self.adverts, self.timers)
        self.recent = Recent(limits.RECENT_IDS_MAX)
        self.heads: Bounded[AgentId, Head] = Bounded(limits.HEADS_CACHED_MAX)
        self.own_head = Head.empty()
        self.recovery = b""
        """Hash of the recovery key, for the first entry of our log."""
        self.tasks: Bounded[RecordId, Task] = Bounded(limits.TASKS_CACHED_MAX)
        self.standings: Bounded[AgentId, Standing] = Bounded(limits.HEADS_CACHED_MAX)
        self.said: Bounded[tuple[RecordId, AgentId], int] = Bounded(limits.PARTNERS_KNOWN_MAX)
        self.mailboxes = Mailboxes()
        self.origins = Origins()
        self.promises = Promises()
        self.turns = Turns()
        self.unkept_entries: dict[tuple[AgentId, int], Record] = {}
        """Log entries that are decided and not yet durable."""
        self.group = Group(1)
        self.sure_of: tuple[AgentId, int] | None = None
        """Of whom nothing but good was found a moment ago, and the moment: the next record is
        mostly by the same author, so it need not all be looked up again."""

    @property
    def me(self) -> AgentId:
        """The relay itself."""
        return self.keys.agent

    def task(self, task: RecordId, answered: Answered) -> Task | None:
        """Return what is known of ``task``; None if the store does not know it either.

        Raises:
            Missing: The store has to be asked.

        """
        known = self.tasks.get(task)
        if known is None and task not in answered.no_tasks:
            raise Missing(task=task)
        return known

    def head(self, author: AgentId) -> Head:
        """Return the newest entry of an author's log.

        Raises:
            Missing: The store has to be asked.

        """
        head = self.heads.get(author)
        if head is None:
            raise Missing(author=author)
        return head

    def entry(self, author: AgentId, seq: int, answered: Answered) -> Record | None:
        """Return an entry of a log; None if the store does not have it either.

        Raises:
            Missing: The store has to be asked.

        """
        place = (author, seq)
        known = self.unkept_entries.get(place)
        if known is None:
            if place not in answered.entries:
                raise Missing(entry=place)
            known = answered.entries[place]
        return known

    def standing(self, agent: AgentId) -> Standing:
        """Return what proofs and successions say of an agent.

        Raises:
            Missing: The store has to be asked.

        """
        standing = self.standings.get(agent)
        if standing is None:
            raise Missing(standing=agent)
        return standing

    def is_stranger(self, agent: AgentId, now_ms: int) -> bool:
        """Tell whether an agent is one of whom this relay knows nothing yet.

        Raises:
            Missing: The store has to be asked.

        """
        head = self.heads.get(agent)
        known = self.gate.knows(agent, head, now_ms)
        if known is None:
            has_stamps = self.gate.has_learnt_stamps(agent)
            raise Missing(
                author=agent if head is None else None, stamps=None if has_stamps else agent
            )
        return not known

    def is_strange(self, agent: AgentId, now_ms: int) -> bool:
        """Tell whether an agent is a stranger as far as is in memory."""
        return not self.gate.knows(agent, self.heads.get(agent), now_ms)

    def caller(self, agent: AgentId, address: str = "", *, is_strange: bool = False) -> Caller:
        """Return an agent with how much is known here of its log, as far as that is in memory."""
        head = self.heads.get(agent)
        return Caller(agent, address, 0 if head is None else head.seq, is_strange)

    def committed_head(self, author: AgentId) -> Head | None:
        """Return the newest durable entry of an author's log, if that is in memory."""
        head = self.heads.get(author)
        while head is not None and (author, head.seq) in self.unkept_entries:
            head = Head(head.seq - 1, self.unkept_entries[author, head.seq].prev)
        return head

    def set_policy(self, policy: Policy) -> None:
        """Go on as the operator has decided."""
        self.sure_of = None
        self.admission.policy = policy
        self.gate.set_policy(policy)

    def learn(self, read: Read, done: ReadDone, answered: Answered, now_ms: int) -> None:
        """Take in what the store has answered, where nothing newer is known."""
        self._learn_of_authors(read, done)
        for task_id in read.tasks:
            records: Sequence[Record] = done.tasks.get(task_id, ())
            task = fold(records, now_ms)
            if task is None:
                answered.no_tasks[task_id] = None
                answered.early[task_id] = records
            elif self.tasks.get(task_id) is None:
                self.tasks.put(task_id, task)
                self.mailboxes.meet(task)
                self.set_timer(task, now_ms)
        for entry in read.entries:
            answered.entries[entry] = done.entries.get(entry)
        letters: Mapping[AgentId, Sequence[AgentId | None]] = done.letters
        for agent in read.letters:
            if not self.mailboxes.is_known(agent):
                self.mailboxes.learn(agent, letters.get(agent, ()))

    def _learn_of_authors(self, read: Read, done: ReadDone) -> None:
        for author in read.heads:
            if self.heads.get(author) is None:
                self.heads.put(author, done.heads.get(author, Head.empty()))
        for agent in read.against:
            if self.standings.get(agent) is None:
                self.standings.put(agent, standing_of(done.against.get(agent, ())))
        for agent in read.stamps:
            self.gate.learn(agent, done.stamps.get(agent, ()))

    def put_task(self, task: Task, now_ms: int) -> None:
        """Assume the new state of a task and wake whom that concerns."""
        before, offered = self.tasks.get(task.id), self.router.offered(task.id)
        self.tasks.put(task.id, task)
        self.mailboxes.meet(task)
        self.set_timer(task, now_ms)
        self.group.undo.append(lambda: self._put_task_back(task, before, offered, now_ms))
        if task.terms.sequencer == self.me:
            self.promises.follow(before, task)
            self.group.undo.append(lambda: self.promises.take_back(before, task))
        self.offer(task.id, self.router.follow(task, now_ms), now_ms)

    def follow_task(self, before: Task | None, task: Task, now_ms: int) -> None:
        """Take note of a task's state that is durable already, and is not the group's to undo."""
        self.tasks.put(task.id, task)
        self.mailboxes.meet(task)
        self.set_timer(task, now_ms)
        if task.terms.sequencer == self.me:
            self.promises.follow(before, task)
        self.router.follow(task, now_ms, may_wake=False)

    def offer(self, post_id: RecordId, agent: AgentId | None, now_ms: int) -> None:
        """Route a post that is kept already to ``agent``, who was just chosen for it."""
        post = self.router.record(post_id)
        if agent is None or post is None:
            return
        self.group.route(post, agent)
        self.group.undo.append(lambda: self.router.take_back_offer(post_id, agent, now_ms))

    def remember(self, record: Record, now_ms: int) -> None:
        """Assume that ``record``, which is in the group, is kept; ``take_back`` forgets it."""
        self.recent.add(record.id, self.group.number, now_ms)

    def remember_entry(self, record: Record) -> None:
        """Assume that ``record`` is the newest entry of its author's log."""
        author = record.author
        self.unkept_entries[author, record.seq] = record
        if author == self.me:
            own_before = self.own_head
            self.own_head = Head.of(record)
            self.group.undo.append(lambda: self._put_own_head_back(own_before))
        else:
            self.heads.put(author, Head.of(record))

    def take_back(self, group: Group) -> None:
        """Forget what was assumed because ``group`` would be committed."""
        group.take_back()
        self.sure_of = None
        for new in group.records:
            record = new.record
            self.recent.discard(record.id)
            if record.seq:
                # What the store knows, and not what was known here: that may be assumed as well.
                self.heads.pop(record.author)
                self.unkept_entries.pop((record.author, record.seq), None)

    def may_say(self, record: Record, task: RecordId) -> bool:
        """Count what an agent says about a task without being asked; False for too much.

        Each is kept, told to the poster, and read again with the task.
        """
        key = (task, record.author)
        count = self.said.get(key) or 0
        if count >= limits.LOOSE_PER_TASK_MAX:
            return False
        self.said.put(key, count + 1)
        self.group.undo.append(lambda: self.said.put_back(key, count or None))
        return True

    def hold_against(self, agent: AgentId, standing: Standing) -> None:
        """Assume that evidence is kept which gives ``agent`` this standing."""
        advert, version = self.adverts.get(agent), self.adverts.version(agent)
        self.sure_of = None
        self.standings.put(agent, standing)
        self.adverts.remove(agent)
        self.group.undo.append(lambda: self.adverts.put_back(agent, advert, version))
        # What the store knows, and not what was known here: that may be assumed as well.
        self.group.undo.append(lambda: self._forget_standing(agent))

    def let_in(self, stamp: Record) -> None:
        """Assume that a stamp is kept with which its author is no stranger any more."""
        self.gate.let_in(stamp)
        self.group.undo.append(lambda: self.gate.forget(stamp.author))

    def add_letter(self, letter: NewLetter) -> None:
        """Keep a letter for its addressee."""
        self.group.letters.append(letter)
        self.mailboxes.add(letter.to, letter.sender)
        self.group.undo.append(lambda: self._forget_letters(letter.to))

    def set_timer(self, task: Task, now_ms: int) -> None:
        """Look at a task of ours again when its state may time out."""
        if task.terms.sequencer != self.me:
            return
        due_ms = wake_ms(task, now_ms)
        if due_ms is None:
            self.timers.cancel(Timer("task", task.id))
        else:
            self.timers.set(Timer("task", task.id), due_ms)

    def _put_task_back(
        self, task: Task, before: Task | None, offered: tuple[AgentId, ...], now_ms: int
    ) -> None:
        self.tasks.put_back(task.id, before)
        if before is None or before.state in TERMINAL:
            self.timers.cancel(Timer("task", task.id))
            return
        if self.router.record(task.id) is None and now_ms < before.expires_ms:
            self.router.hold(before.post, before.terms, before.expires_ms, offered=offered)
            self.router.resume(before, now_ms)
        woken = self.router.follow(before, now_ms)
        if woken is not None:  # the group in which that would be written is gone
            self.router.take_back_offer(task.id, woken, now_ms)
        if before.terms.sequencer == self.me:
            # What was due is due still; not at once, since the store may need a moment.
            self.timers.set(Timer("task", task.id), now_ms + limits.WAKE_MS)

    def _put_own_head_back(self, head: Head) -> None:
        self.own_head = head

    def _forget_standing(self, agent: AgentId) -> None:
        self.standings.pop(agent)

    def _forget_letters(self, agent: AgentId) -> None:
        self.mailboxes.forget(agent)
