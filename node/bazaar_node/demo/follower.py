"""What became of a task, as the node that posted it tells."""

from bazaar_node.api.client import Client
from bazaar_node.service import TaskDetail, TaskEvent
from bazaar_protocol.errors import LocalError, TimedOut


class Follower:
    """Reads the events of one task, each of them once, in their order."""

    def __init__(self, client: Client, task: str, name: str) -> None:
        self._client = client
        self._task = task
        self._name = name
        self._taken = 0
        self.detail: TaskDetail = client.task(task)

    def until(self, what: str, *, epoch: int | None = None, timeout_s: float) -> TaskEvent:
        """Wait for the next event called ``what``, and skip those before it.

        Raises:
            TimedOut: It did not happen in time.
            LocalError: The task was over before, or its node ended.

        """
        wanted = f"{what} of {self._name}" + ("" if epoch is None else f" for epoch {epoch}")
        try:
            for detail in self._client.watch(self._task, timeout_s=timeout_s):
                self.detail = detail
                for number, event in enumerate(detail.events):
                    is_new = number >= self._taken
                    if is_new and event.what == what and epoch in {None, event.epoch}:
                        self._taken = number + 1
                        return event
        except TimedOut as error:
            expected = f"expected the {wanted} within {timeout_s:g} s; {self._so_far()}"
            raise TimedOut(expected) from error
        raise LocalError(f"expected the {wanted}; {self._so_far()}")

    def _so_far(self) -> str:
        seen = ", ".join(event.what for event in self.detail.events[self._taken :]) or "nothing"
        return f"the task is {self.detail.task.state}, and since the last line came: {seen}"
