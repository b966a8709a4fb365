"""``bazaar demo``: strangers trade on this machine, each of them a process of its own.

``command`` is what people call, ``story`` is what happens, ``stage`` starts and ends the processes,
``reckoning`` is how it ends, and ``adversary`` what the cheat of the story does past its node.
``follower`` tells what became of a task, ``cast`` who is who, and ``teller`` writes the lines.
``programs`` has the work that the agents do.
"""
