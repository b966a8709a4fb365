"""What people are told of each figure: its name, and in which unit it is shown."""

from dataclasses import dataclass
from typing import Final

from bazaar_simulations.population.intervals import Interval

_HUNDRED: Final = 100.0


@dataclass(frozen=True, slots=True)
class Label:
    """How a figure is shown."""

    name: str
    of: str
    """Of what it is a part, or what is counted."""
    is_share: bool = True
    """Whether it is shown in per cent."""

    @property
    def axis(self) -> str:
        """What stands at an axis."""
        return f"{self.name} (% of {self.of})" if self.is_share else f"{self.name} ({self.of})"

    @property
    def unit(self) -> str:
        """What stands behind a number."""
        return "%" if self.is_share else ""

    def scaled(self, value: float) -> float:
        """Return a value in this unit."""
        return value * _HUNDRED if self.is_share else value

    def text(self, one: Interval) -> str:
        """Return a mean and its interval in this unit, without the unit."""
        mean = self.scaled(one.mean)
        digits = 1 if self.is_share or abs(mean) >= 10 else 2
        if one.half is None:
            return f"{mean:.{digits}f}"
        return f"{mean:.{digits}f} ± {self.scaled(one.half):.{digits}f}"


LABELS: Final = {
    "bad": Label("bad outcomes", "served tasks"),
    "goodput": Label("tasks done well", "all tasks"),
    "malicious": Label("awards to malicious", "served tasks"),
    "failed_malicious": Label("failed awards to malicious", "served tasks"),
    "newcomers": Label("newcomers' share", "a fair share"),
    "lost": Label("value lost", "the value of served tasks"),
    "probes": Label("cost of probes", "the value of tasks"),
    "for_nothing": Label("honest work for nothing", "good work"),
    "unserved": Label("unserved", "all tasks"),
    "messages": Label("messages", "for each task", is_share=False),
    "kilobytes": Label("signed records", "kB for each task", is_share=False),
    "damage": Label("damage", "tasks spoilt by each malicious principal", is_share=False),
}
"""By the names of ``figures.Figures``."""
