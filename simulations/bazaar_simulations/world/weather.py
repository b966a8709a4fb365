"""How bad things are in a world: what happens to links, processes, disks and clocks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Weather:
    """How often what happens; 0 means never. All times are in seconds of virtual time.

    What comes ``every`` so many seconds comes at random times with that mean, in the whole world.
    """

    latency_s: float = 0.02
    jitter_s: float = 0.03
    """At most so much longer a message is under way, each by chance."""
    commit_s: float = 0.004
    """At most so long a transaction takes."""
    full_disk: float = 0
    """The probability that there is no room for a transaction, just then."""
    break_every_s: float = 0
    """A link breaks, and what is under way on it is lost."""
    half_open: float = 0.3
    """The probability that only one end of a link that breaks learns of it soon."""
    duplicate: float = 0
    """The probability that records or events are sent twice."""
    clog_every_s: float = 0
    """Nothing passes between two parties for a while."""
    clog_s: float = 20
    partition_every_s: float = 0
    """The parties fall into two sets that do not hear each other, or one not the other."""
    partition_s: float = 60
    one_way: float = 0.3
    """The probability that a partition or a clog stops one direction only."""
    crash_every_s: float = 0
    """A node or a relay is killed."""
    crash_at_commit: float = 0
    """The probability that it is killed the moment a transaction of it is durable."""
    relay_share: float = 0.2
    """The probability that a crash hits a relay and not a node."""
    down_s: float = 10
    """How long a process is down on average."""
    silent_crash: float = 0.3
    """The probability that nobody is told of a crash: the machine is gone."""
    backup_every_s: float = 0
    """A copy of a node's store is made, for ``restore_every_s``."""
    restore_every_s: float = 0
    """A node is killed, and comes back with an old copy of its store."""
    skew_s: float = 0
    """At most so wrong a clock is; it is set anew when its process starts."""
    drift: float = 0
    """At most so much too fast or too slow a clock runs, as a ratio."""
    cancelled: float = 0
    """The probability that who posted a task takes it back, sooner or later."""
    failing_work: float = 0
    """The probability that the work on a task fails."""
    judged_by_owner: float = 0
    """The probability that a task is judged by who posted it, who has to look at the result."""
