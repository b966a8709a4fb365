"""Going on with the tasks that a relay had before it was started."""

from bazaar_protocol.task import TERMINAL, Elapsed, step
from bazaar_relay.machine.events import Resumed
from bazaar_relay.machine.state import RelayState
from bazaar_relay.machine.tasks import fold


def resume(state: RelayState, resumed: Resumed, now_ms: int) -> None:
    """Take up a task that may be going on."""
    task = fold(resumed.records, now_ms)
    if task is None or task.state in TERMINAL:
        return
    if now_ms < task.expires_ms:
        state.router.hold(task.post, task.terms, task.expires_ms, offered=resumed.offered)
    is_ours = task.terms.sequencer == state.me
    if is_ours:
        state.promises.learn(task, resumed.records)
    # What was read is durable, and stays when the next commit fails.
    state.follow_task(None, step(task, Elapsed(), now_ms) if is_ours else task, now_ms)
    state.router.resume(task, now_ms)
