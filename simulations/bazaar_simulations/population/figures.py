"""What is counted in a run, and the figures that come of it."""

from dataclasses import dataclass, field, fields
from typing import Final

_KILO: Final = 1_000


@dataclass(slots=True)
class Counts:
    """Sums over the rounds of one half of a run."""

    tasks: int = 0
    """Tasks that somebody got, probes aside."""
    unserved: int = 0
    bad: int = 0
    malicious: int = 0
    """Tasks that somebody malicious got."""
    failed_malicious: int = 0
    value: float = 0.0
    lost: float = 0.0
    """The value of what went wrong."""
    to_honest: int = 0
    to_newcomers: int = 0
    probes: int = 0
    probe_cost: float = 0.0
    for_nothing: int = 0
    """Good work of the honest that a malicious poster did not accept."""
    honest_jobs: int = 0
    messages: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run came to; from the second half of its rounds but for ``damage``."""

    bad: float
    """Bad outcomes, of tasks that somebody got."""
    goodput: float
    """Tasks done well, of all tasks."""
    malicious: float
    """Tasks that went to somebody malicious."""
    failed_malicious: float
    """Of all awards, those to somebody malicious who failed."""
    newcomers: float
    """What newcomers got, of what would be their part of the tasks done by the honest."""
    lost: float
    """Of the value of tasks that somebody got, what went wrong."""
    probes: float
    """What probes cost, of the value of all tasks."""
    for_nothing: float
    """Of the good work of the honest, what a malicious poster took and did not accept."""
    unserved: float
    messages: float
    """Sent for each task."""
    kilobytes: float
    """Of signed records, each counted once, sent for each task; its input and result aside."""
    damage: float
    """Tasks spoilt by each malicious principal, over the whole run."""


FIGURES: Final = tuple(one.name for one in fields(Figures))


@dataclass(slots=True)
class Ledger:
    """The counts of both halves."""

    first: Counts = field(default_factory=Counts)
    second: Counts = field(default_factory=Counts)

    def figures(self, newcomers: float, principals: float) -> Figures:
        """Return what it came to.

        Args:
            newcomers: Which part of the honest are newcomers.
            principals: How many malicious ones there are for those whose tasks are counted.

        """
        late = self.second
        served, asked = max(late.tasks, 1), max(late.tasks + late.unserved, 1)
        damage = self.first.failed_malicious + late.failed_malicious
        return Figures(
            bad=late.bad / served,
            goodput=(late.tasks - late.bad) / asked,
            malicious=late.malicious / served,
            failed_malicious=late.failed_malicious / served,
            newcomers=late.to_newcomers / max(late.to_honest, 1) / newcomers,
            lost=late.lost / max(late.value, 1e-9),
            probes=late.probe_cost / max(late.value, 1e-9),
            for_nothing=late.for_nothing / max(late.honest_jobs, 1),
            unserved=late.unserved / asked,
            messages=late.messages / served,
            kilobytes=late.bytes / served / _KILO,
            damage=damage / principals if principals else 0.0,
        )
