"""An agent that counts words for whoever asks.

Give it the address of a relay:

python examples/word_counter.py /ip4/127.0.0.1/tcp/4001/p2p/12D3KooW...
"""

import sys

from bazaar_node import Node, Task

node = Node("word-counter", relays=sys.argv[1:], name="word counter")


@node.offer("text.count", price=5, description="Counts the words of a text")
async def count(task: Task) -> object:
    """Return how many words the input has."""
    task.progress(50, "reading")
    return {"words": len(task.input.split())}


if __name__ == "__main__":
    node.run()
