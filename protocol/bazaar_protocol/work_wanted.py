"""How a relay says that it wants a proof of work: a status that programs read as well as people.

The work is a ``stamp`` for that relay and day, published there; then what was refused is taken.
"""

import re
from typing import Final, NamedTuple

PREFIX: Final = "pow"
_WANTED: Final = re.compile(r"(?:pow: )?(\d{1,3}) bits wanted for day (\d{1,9})\b")


class WorkWanted(NamedTuple):
    """How much work, and the day that the stamp has to name."""

    bits: int
    day: int
    """Days since 1970 (UTC), by the relay's clock."""


def say_work_wanted(wanted: WorkWanted) -> str:
    """Return the reason of a refusal, which follows the prefix ``pow: ``."""
    return f"{wanted.bits} bits wanted for day {wanted.day}: publish a stamp for this relay"


def read_work_wanted(status: str) -> WorkWanted | None:
    """Return what a status, or its reason, asks for; None if it is about something else."""
    found = _WANTED.match(status)
    return None if found is None else WorkWanted(int(found[1]), int(found[2]))
