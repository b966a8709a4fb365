"""The headline table: every attack against every defence, and what was aimed for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from bazaar_simulations.population.intervals import Interval
from bazaar_simulations.population.setting import PARTS, Setting
from bazaar_simulations.population.sweep import Row

NO_ATTACK: Final = "no attack"

_POINT: Final = 0.01
_MANY: Final = frozenset({"Sybil x10", "Sybil x30", "copycat raters", "ring + Sybil + slander"})


@dataclass(frozen=True, slots=True)
class Goal:
    """What one figure of ours was to be under one attack."""

    attack: str
    figure: str
    got: Interval
    least: float | None = None
    most: float | None = None

    @property
    def is_met(self) -> bool:
        """Tell by the mean alone."""
        is_enough = self.least is None or self.got.mean >= self.least
        return is_enough and (self.most is None or self.got.mean <= self.most)


def settings(
    attacks: Iterable[str],
    defences: Iterable[str],
    shares: Iterable[float],
    *,
    tried: frozenset[str] = frozenset(),
    principals: int = 100,
) -> list[Setting]:
    """Return the settings of a table; a share of 0 is no attack, once for each defence."""
    attacks, defences = tuple(attacks), tuple(defences)
    found: dict[Setting, None] = {}
    for share in (0.0, *shares):
        for attack in attacks if share else ("independent",):
            for defence in defences:
                setting = Setting(
                    attack=attack, defence=defence, share=share, principals=principals,
                    tried=tried if defence == "ours" else frozenset(),
                )  # fmt: skip
                found[setting] = None
    return list(found)


def ablations(attacks: Iterable[str], share: float, principals: int = 100) -> list[Setting]:
    """Return ours against each attack, whole and without each of its parts."""
    whole = frozenset[str]()
    return [
        Setting(attack=attack, share=share, off=off, principals=principals)
        for attack in attacks
        for off in (whole, *(frozenset({part}) for part in PARTS))
    ]


def column_of(setting: Setting) -> str:
    """Return the name of a column of the table."""
    return setting.defence if not setting.off else f"no {', '.join(sorted(setting.off))}"


def attack_of(setting: Setting) -> str:
    """Return the name of a row of the table."""
    return setting.attack if setting.share else NO_ATTACK


def goals(rows: Mapping[Setting, Row], share: float = 0.4) -> list[Goal]:
    """Return what our defence was to reach at that share of malicious principals."""
    ours = {attack_of(one): row for one, row in rows.items()
            if one.defence == "ours" and one.share in {0.0, share} and not one.off}  # fmt: skip
    calm = ours.get(NO_ATTACK)
    found: list[Goal] = []
    for attack, row in ours.items():
        least = 0.92 if attack in _MANY else 0.95
        if calm is not None:
            most = calm["bad"].mean + _POINT
            found.append(Goal(attack, "bad", row["bad"], most=most))
        found += [
            Goal(attack, "goodput", row["goodput"], least=least),
            Goal(attack, "failed_malicious", row["failed_malicious"], most=0.01),
            Goal(attack, "newcomers", row["newcomers"], least=0.7),
            Goal(attack, "probes", row["probes"], most=0.04),
        ]
    return found


def amplification(rows: Mapping[Setting, Row], share: float = 0.4) -> float | None:
    """Return how much more damage a principal does with ten identities than with one."""
    damage = {one.attack: row["damage"].mean for one, row in rows.items()
              if one.defence == "ours" and one.share == share and not one.off}  # fmt: skip
    if "ring" not in damage or "Sybil x10" not in damage:
        return None
    return damage["Sybil x10"] / max(damage["ring"], 1e-9)


def as_json(rows: Mapping[Setting, Row], seeds: Sequence[int]) -> dict[str, Any]:
    """Return the rows as plain values."""
    return {
        "seeds": list(seeds),
        "rows": [
            {
                **{key: value for key, value in asdict(setting).items() if key != "seed"},
                "off": sorted(setting.off),
                "tried": sorted(setting.tried),
                "attack": attack_of(setting),
                "figures": {name: one._asdict() for name, one in row.items()},
            }
            for setting, row in rows.items()
        ],
    }
