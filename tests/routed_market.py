"""A market of pure agents whose relay tells each record to those alone whom it is for.

Who is cut off hears later what was meant for it, and what it said goes out when it is back. So the
agents learn of things in whatever order their outages make of it, as they do from a real relay.
"""

from collections import defaultdict

from tests.market import Market

from bazaar_node.market.events import (
    AgentEvent,
    Arrived,
    Judged,
    LetterArrived,
    Outgoing,
    RefusedByRelay,
    Resumed,
    WorkFailed,
)
from bazaar_protocol import letters
from bazaar_protocol.errors import IllegalTransition, StaleEpoch
from bazaar_protocol.identity import AgentId, Keypair
from bazaar_protocol.kinds import Post
from bazaar_protocol.records import Record, RecordId, unseal
from bazaar_protocol.sealing import open_sealed
from bazaar_protocol.task import State, Task, open_task, step
from bazaar_relay.machine.audience import audience_of

RELAY = Keypair.from_name("relay").agent


class RoutedMarket(Market):
    """Carries records as a relay does that is not their sequencer."""

    def __init__(self) -> None:
        super().__init__()
        self.folds: dict[RecordId, Task] = {}
        """The tasks as the relay sees them."""
        self._crashed: set[str] = set()
        self._waiting: dict[str, list[AgentEvent]] = defaultdict(list)
        self._unsent: dict[str, list[Outgoing]] = defaultdict(list)

    def cut_off(self, name: str, *, unnoticed: bool = False) -> None:
        """Cut a trader off, which takes the silence for silence if it has not noticed."""
        self.traders[name].is_cut_off = True
        self.traders[name].agent.hears_others = unnoticed

    def crash(self, name: str) -> None:
        """Cut a trader off, and let it forget what is not durable."""
        self.rebuild(name)
        self.cut_off(name)
        self._crashed.add(name)

    def come_back(self, name: str) -> None:
        """Let a trader catch up, then say what it could not, as a node does."""
        trader = self.traders[name]
        trader.is_cut_off = False
        waiting, self._waiting[name] = self._waiting[name], []
        for event in waiting:
            self.tell(name, event)
        trader.agent.hears_others = True
        if name in self._crashed:
            self._crashed.remove(name)
            self.tell(name, Resumed())
        self._mail.extendleft((trader, sent) for sent in reversed(self._unsent.pop(name, [])))
        self.settle()

    def arrive(self, name: str, record: Record) -> None:
        """Let the relay offer a post to a trader of whom it had not known."""
        self._hand(name, Arrived(record))
        self.settle()

    def settle(self) -> None:
        while self._mail:
            sender, sent = self._mail.popleft()
            name = self._name(sender.keys.agent)
            if sender.is_cut_off:
                self._unsent[name].append(sent)
            elif sent.to is None:
                self._carry(name, unseal(sent.raw))
            else:
                author, content = open_sealed(self.traders[self._name(sent.to)].keys, sent.raw)
                letter = letters.decode_letter(content)
                self._hand(self._name(sent.to), LetterArrived(author, letter))

    def end(self, name: str, *, fails: bool = False) -> None:
        """Let a trader end all its work, and the poster judge what it has."""
        jobs = self.traders[name].agent._worker.jobs
        for task, job in list(jobs.items()):
            if fails:
                self.tell(name, WorkFailed(task, job.epoch, "broken"))
            else:
                self.finish(name, task)
        self.settle()

    def judge_all(self) -> None:
        """Accept every result that the posters have."""
        for name, trader in self.traders.items():
            for entry in trader.agent._ledger.live("poster"):
                if entry.task.state is State.DELIVERED and entry.task.deliver is not None:
                    self.tell(name, Judged(entry.task.id, entry.task.deliver.id, True, ""))
        self.settle()

    def _carry(self, sender: str, record: Record) -> None:
        if isinstance(record.body, Post):
            self.folds[record.id] = open_task(record, self.now_ms)
            audience = [one.keys.agent for one in self.traders.values()]
        else:
            task = self.folds[RecordId(getattr(record.body, "task"))]  # noqa: B009
            audience = list(audience_of(record, task, RELAY))
            try:
                self.folds[task.id] = step(task, record, self.now_ms)
            except StaleEpoch as error:
                refused = RefusedByRelay(record, f"{error.code}: {error}")
                self._hand(sender, refused)
                return
            except IllegalTransition:
                pass  # its sequencer may know what the relay does not
        for agent in audience:
            if self._name(agent) != sender:
                self._hand(self._name(agent), Arrived(record))

    def _hand(self, name: str, event: AgentEvent) -> None:
        if self.traders[name].is_cut_off:
            self._waiting[name].append(event)
        else:
            self.tell(name, event)

    def _name(self, agent: AgentId) -> str:
        return next(name for name, one in self.traders.items() if one.keys.agent == agent)
