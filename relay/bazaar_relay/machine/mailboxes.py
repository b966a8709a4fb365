"""How full the mailboxes are, and who may still put a letter into one.

A mailbox is small, and anyone may write to anyone. So a stranger has a small share of it, all
strangers together have half, and the other half is for those with whom its owner trades: a task
that one of them posted and the other accepted. Thus what is owed gets through, whoever floods.
"""

from collections import Counter
from collections.abc import Sequence

from bazaar_protocol import limits
from bazaar_protocol.identity import AgentId
from bazaar_protocol.task import Task
from bazaar_relay.machine.bounded import Bounded


class Mailboxes:
    """The senders of the letters that wait for each agent, as far as the store was asked."""

    def __init__(self) -> None:
        self._senders: Bounded[AgentId, Counter[AgentId | None]] = Bounded(
            limits.AGENTS_COUNTED_MAX
        )
        self._partners: Bounded[tuple[AgentId, AgentId], bool] = Bounded(limits.PARTNERS_KNOWN_MAX)

    def is_known(self, agent: AgentId) -> bool:
        """Tell whether it is known what waits for ``agent``."""
        return self._senders.get(agent) is not None

    def learn(self, agent: AgentId, senders: Sequence[AgentId | None]) -> None:
        """Take in what the store says."""
        self._senders.put(agent, Counter(senders))

    def forget(self, agent: AgentId) -> None:
        """Ask the store again before the next letter to ``agent``."""
        self._senders.pop(agent)

    def add(self, to: AgentId, sender: AgentId | None) -> None:
        """Count one more letter."""
        senders = self._senders.get(to)
        if senders is not None:
            senders[sender] += 1

    def meet(self, task: Task) -> None:
        """Take note of who trades with whom."""
        if task.accept is not None:
            poster, worker = task.poster, task.accept.author
            self._partners.put((poster, worker), value=True)
            self._partners.put((worker, poster), value=True)

    def refusal(self, to: AgentId, sender: AgentId) -> str:
        """Return why ``to`` gets no letter from ``sender`` now; empty if nothing speaks against it.

        What waits for ``to`` has to be known.
        """
        senders = self._senders.get(to)
        assert senders is not None
        total = senders.total()
        if total >= limits.LETTERS_PER_AGENT_MAX:
            return f"{total} letters wait for this agent, and no more can"
        share_max = limits.LETTERS_PER_SENDER_MAX
        if not self.are_partners(to, sender):
            share_max = limits.LETTERS_PER_STRANGER_MAX
            strangers = sum(
                count
                for one, count in senders.items()
                if one is not None and not self.are_partners(to, one)
            )
            if strangers >= limits.LETTERS_OF_STRANGERS_MAX:
                return f"{strangers} letters of strangers wait for this agent, and no more can"
        if senders[sender] >= share_max:
            return f"{senders[sender]} letters of yours wait for this agent, and no more can"
        return ""

    def are_partners(self, one: AgentId, other: AgentId) -> bool:
        """Tell whether two agents trade, as far as is in memory."""
        return self._partners.get((one, other)) is not None
