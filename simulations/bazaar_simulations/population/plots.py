"""Curves of a table as pictures, PNG and SVG: one figure over the malicious share, with intervals.

matplotlib draws them. It is an extra (``pip install 'bazaar[simulations]'``), imported here when a
picture is wanted.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from bazaar_protocol.errors import ConfigError
from bazaar_simulations.population.setting import Setting
from bazaar_simulations.population.sweep import Row

_LABELS: Final = {
    "bad": "bad outcomes (% of served tasks)",
    "goodput": "tasks done well (% of all tasks)",
    "failed_malicious": "failed awards to malicious (% of awards)",
    "newcomers": "newcomers' share (% of a fair share)",
    "probes": "cost of probes (% of the value of tasks)",
    "for_nothing": "honest work for nothing (% of good work)",
}
_MARKS: Final = "osv^Dx"
_HUNDRED: Final = 100.0


def draw(rows: Mapping[Setting, Row], folder: Path) -> list[Path]:
    """Write a picture of each figure that has a label, for each attack; return their paths.

    Raises:
        ConfigError: matplotlib is not installed.

    """
    pyplot = _pyplot()
    folder.mkdir(parents=True, exist_ok=True)
    attacks = dict.fromkeys(one.attack for one in rows if one.share)
    written: list[Path] = []
    for attack in attacks:
        for figure in _LABELS:
            picture, axes = pyplot.subplots(figsize=(6.4, 4.2), layout="constrained")
            _curves(axes, rows, attack, figure)
            name = f"{figure}-{attack}".replace(" ", "-").replace("+", "and")
            for ending in ("png", "svg"):
                path = folder / f"{name}.{ending}"
                # Without a date, one table is one picture, byte for byte.
                metadata = {"Date": None} if ending == "svg" else None
                picture.savefig(path, dpi=150, metadata=metadata)
                written.append(path)
            pyplot.close(picture)
    return written


def _curves(axes: Any, rows: Mapping[Setting, Row], attack: str, figure: str) -> None:
    defences = dict.fromkeys(one.defence for one in rows)
    for defence, mark in zip(defences, _MARKS, strict=False):
        points = sorted(
            (
                one.share * _HUNDRED,
                row[figure].mean * _HUNDRED,
                (row[figure].half or 0.0) * _HUNDRED,
            )
            for one, row in rows.items()
            if one.defence == defence and (one.attack == attack or not one.share)
        )
        shares, means, halves = zip(*points, strict=True)
        axes.errorbar(shares, means, halves, marker=mark, markersize=5, capsize=3, label=defence)
    axes.set_xlabel("malicious principals (%)")
    axes.set_ylabel(_LABELS[figure])
    axes.set_title(f"{attack}: means and 95 % confidence intervals")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def _pyplot() -> Any:
    try:
        matplotlib: Any = import_module("matplotlib")
    except ImportError as error:
        raise ConfigError("pictures need matplotlib: pip install 'bazaar[simulations]'") from error
    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "bazaar"
    return import_module("matplotlib.pyplot")
