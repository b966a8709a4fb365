"""Deciding in turns: the pipeline of a relay that has several processes."""

from collections import deque

from bazaar_protocol import limits
from bazaar_relay.machine.events import EndTurn, Reply, WantTurn
from bazaar_relay.machine.group import Group
from bazaar_relay.machine.pipeline import Pipeline
from bazaar_relay.machine.timers import Timer
from bazaar_relay.machine.works import Claiming, LookingAt, Mailing, Publishing, storage_error


class SharedPipeline(Pipeline):
    """Verifies at any time, decides in its turn, and commits once for each."""

    def pump(self, now_ms: int) -> None:
        """Decide what can be decided, and commit it; or else ask for a turn."""
        turns = self._state.turns
        if not turns.is_ours:
            if self._state.group.writes or (self._works and self._works[0].is_ready):
                self.want_turn()
            return
        self._decide_waiting(now_ms)
        if self._works and self._works[0].reading is not None:
            return  # what it is told has to be of this turn
        if self._state.group.writes:
            self._begin_commit()
        else:
            self.effects.append(EndTurn())
        turns.end()

    def want_turn(self) -> None:
        """Ask for a turn, if none was asked for yet."""
        if self._state.turns.want():
            self.effects.append(WantTurn())

    def turn_failed(self, reason: str, now_ms: int) -> None:
        """Refuse what waits for a turn: the store is not to be had."""
        self._state.turns.end()
        group, self._state.group = self._state.group, Group(self._state.group.number + 1)
        group.take_back()
        self.effects += [Reply(one.connection, one.failed(reason)) for one in group.answers]
        waiting, self._works = self._works, deque()
        for work in waiting:
            if not work.is_ready:
                self._works.append(work)
                continue
            del self._by_id[work.id]
            match work:
                case Publishing():
                    work.give_up(reason)
                    self.effects.append(Reply(work.connection, work.answer().kept))
                case Claiming() | Mailing():
                    error = storage_error(work.request, reason)
                    self.effects.append(Reply(work.connection, error))
                case LookingAt():
                    self._state.timers.set(Timer("task", work.task), now_ms + limits.WAKE_MS)
