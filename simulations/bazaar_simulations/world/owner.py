"""The owner of a node: looks at a result and says whether it is what was wanted."""

from hashlib import sha256

from bazaar_node.desk import Desk
from bazaar_protocol.errors import BazaarError


async def judge(desk: Desk, task: str, expected: str) -> bool | None:
    """Wait for a result and give the verdict; return it, or None if there was nothing to judge.

    Args:
        desk: Of the node that has posted the task.
        task: Its id, in hex.
        expected: The hash that the right result has, in hex.

    Raises:
        BazaarError: The result cannot be had, or the node cannot sign now.

    """
    async for detail in desk.watch(task):
        if detail.task.state == "delivered":
            data = (await desk.result(task)).read_bytes()
            is_right = sha256(data).hexdigest() == expected
            await desk.decide(task, accepted=is_right, reason="" if is_right else "it is wrong")
            return is_right
    return None


async def judge_if_possible(desk: Desk, task: str, expected: str) -> str:
    """Do as ``judge`` does, and return what came of it in a word or two."""
    try:
        is_right = await judge(desk, task, expected)
    except BazaarError as error:
        return f"cannot judge: {type(error).__name__}"
    return "has nothing to judge" if is_right is None else f"judges: {is_right}"
