"""The report of runs of the population: figures with intervals, goals, pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bazaar_simulations.population.labels import LABELS, Label
from bazaar_simulations.population.plots import Rows, as_svg, pictures
from bazaar_simulations.population.tables import (
    NO_ATTACK,
    amplification,
    attack_of,
    column_of,
    goals,
)
from bazaar_simulations.report.markup import Markup, drawing, element, joined, table
from bazaar_simulations.report.page import code, page, section

AMPLIFICATION_MOST: Final = 2.5


@dataclass(frozen=True, slots=True)
class Origin:
    """Where figures come from, so that somebody else can get them too."""

    command: str
    """What was typed."""
    when: str
    """By the clock of whoever ran it."""
    version: str
    seeds: Sequence[int]


def report(title: str, origin: Origin, rows: Rows, *, left_out: str = "") -> str:
    """Return the report of ``rows`` as HTML.

    Args:
        title: What was run.
        origin: Where it comes from.
        rows: What came of it.
        left_out: Why rows are missing, if any are.

    Raises:
        ConfigError: matplotlib is not installed.

    """
    shares = sorted({one.share for one in rows if one.share})
    first = next(iter(rows), None)
    facts = [
        ("command", code(origin.command)),
        ("seeds", _seeds(origin.seeds)),
        ("when", origin.when),
        ("version", f"bazaar {origin.version}"),
    ]
    if first is not None:
        facts.append(("simulated", f"{first.principals:,} principals, {first.rounds:,} days"))
    if left_out:
        facts.append(("not whole", element("strong", left_out, class_="missed")))
    sections = [_goals(rows, share) for share in shares]
    figures = _figures(rows) if len(rows) == 1 else _tables(rows, shares)
    drawn = [drawing(as_svg(picture), name) for name, picture in pictures(rows)] if rows else []
    notes = (
        "Means over the seeds, ± half the width of the 95 % confidence interval after Student; "
        "of one seed there is none. All but damage is of the second half of the days. "
        "What is simulated, and what is not, is said in docs/simulations.md."
    )
    return page(
        title, facts, *sections, *figures,
        section("Pictures", *drawn) if drawn else Markup(""),
        element("footer", notes),
    )  # fmt: skip


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) > 1 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def _goals(rows: Rows, share: float) -> Markup:
    known = goals(rows, share)
    if not known:
        return Markup("")
    missed = [
        [one.attack, LABELS[one.figure].name, _amount(LABELS[one.figure], one.got.mean),
         _aim(LABELS[one.figure], one.least, one.most)]
        for one in known
        if not one.is_met
    ]  # fmt: skip
    ratio = amplification(rows, share)
    if ratio is not None and ratio > AMPLIFICATION_MOST:
        missed.append(["Sybil x10 beside ring", "amplification", f"{ratio:.1f}",
                       f"at most {AMPLIFICATION_MOST}"])  # fmt: skip
    whole = len(known) + (ratio is not None)
    met = element("p", f"{whole - len(missed)} of {whole} goals are met, by the means.")
    if not missed:
        return section(f"Goals at {share:.0%} malicious", met)
    head = ["missed under", "figure", "got", "aimed for"]
    return section(
        f"Goals at {share:.0%} malicious", met, table(head, missed, caption="What missed its goal")
    )


def _aim(label: Label, least: float | None, most: float | None) -> str:
    return (f"at most {_amount(label, most)}" if most is not None
            else f"at least {_amount(label, least or 0.0)}")  # fmt: skip


def _amount(label: Label, value: float) -> str:
    return f"{label.scaled(value):.2f}{' %' * label.is_share}"


def _figures(rows: Rows) -> list[Markup]:
    """Return all figures of the only row there is."""
    ((setting, row),) = rows.items()
    lines = [
        [label.name, f"{label.text(row[name])}{' %' * label.is_share}", label.of]
        for name, label in LABELS.items()
        if name in row
    ]
    caption = f"{attack_of(setting)}, {setting.share:.0%} malicious, against {setting.defence}"
    return [section("Figures", table(["figure", "mean", "of"], lines, caption=caption))]


def _tables(rows: Rows, shares: Sequence[float]) -> list[Markup]:
    """Return one table for each share and figure."""
    columns = list(dict.fromkeys(map(column_of, rows)))
    found: list[Markup] = []
    for share in shares:
        at_share = {(attack_of(one), column_of(one)): row for one, row in rows.items()
                    if one.share in {0.0, share}}  # fmt: skip
        attacks = list(dict.fromkeys(attack for attack, _ in at_share))
        parts: list[Markup] = []
        for name, label in LABELS.items():
            lines = [
                [attack, *(label.text(at_share[attack, column][name])
                           if (attack, column) in at_share else "" for column in columns)]
                for attack in attacks
            ]  # fmt: skip
            parts.append(table(["attack", *columns], lines, caption=label.axis))
        beside = f"Figures at {share:.0%} malicious"
        beside += f", beside {NO_ATTACK}" if NO_ATTACK in attacks else ""
        first, *others = parts
        rest = element("details", element("summary", "All other figures"), *others)
        found.append(section(beside, joined(first, rest)))
    return found
