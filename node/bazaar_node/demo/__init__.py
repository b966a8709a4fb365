"""``bazaar demo``: strangers trade on this machine, each of them a process of its own.

``command`` is what people call, ``story`` is what happens, ``stage`` starts and ends the processes,
``follower`` tells what became of a task, and ``teller`` writes the lines. ``programs`` has the work
that the agents of the story do.
"""
