"""Figures as pictures, PNG and SVG, with intervals.

matplotlib draws them. It is an extra (``pip install 'bazaar[simulations]'``), imported here when a
picture is wanted. One table gives one picture, byte for byte.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from io import StringIO
from itertools import cycle
from pathlib import Path
from typing import Any, Final, TypeAlias

from bazaar_protocol.errors import ConfigError
from bazaar_simulations.population.labels import LABELS
from bazaar_simulations.population.setting import Setting
from bazaar_simulations.population.sweep import Row
from bazaar_simulations.population.tables import attack_of, column_of

Rows: TypeAlias = Mapping[Setting, Row]

DRAWN: Final = ("bad", "goodput", "failed_malicious", "newcomers", "probes", "for_nothing")
"""The figures of which there are pictures."""

_MARKS: Final = "osv^DxP*"
_CURVE_LEAST: Final = 3
"""So many shares make a curve; of fewer there is one picture for all attacks."""
_OURS: Final = {"color": "black", "linewidth": 1.8, "zorder": 3}
"""Ours stands out."""


def draw(rows: Rows, folder: Path) -> list[Path]:
    """Write the pictures of a table; return their paths.

    Raises:
        ConfigError: matplotlib is not installed, or the folder cannot be written to.

    """
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures(rows):
            for ending in ("png", "svg"):
                path = folder / f"{name}.{ending}"
                metadata = {"Date": None} if ending == "svg" else None
                picture.savefig(path, dpi=150, metadata=metadata)
                written.append(path)
    except OSError as error:
        raise ConfigError(f"no pictures in {folder}: {error.strerror}") from error
    return written


def pictures(rows: Rows, figures: Sequence[str] = DRAWN) -> Iterator[tuple[str, Any]]:
    """Yield the pictures of a table, each with a name; each is closed when the next is drawn.

    Raises:
        ConfigError: matplotlib is not installed.

    """
    shares = {one.share for one in rows}
    if len(rows) == 1:
        (setting, row), *_ = rows.items()
        with _blank(4.0) as (picture, axes):
            _all_figures(axes, row)
            axes.set_title(attack_of(setting))
            axes.set_xlabel(f"%; {_said_of(rows)}")
            yield _file_name("figures", attack_of(setting)), picture
    elif len(shares | {0.0}) >= _CURVE_LEAST:
        for attack in dict.fromkeys(one.attack for one in rows if one.share):
            for figure in figures:
                with _blank(4.2) as (picture, axes):
                    _curves(axes, rows, attack, figure)
                    yield _file_name(figure, attack), picture
    else:
        lines = len({attack_of(one) for one in rows}) * len(set(map(column_of, rows)))
        for figure in figures:
            with _blank(1.7 + 0.13 * lines) as (picture, axes):
                _overview(axes, rows, figure)
                yield _file_name(figure, "all"), picture


def as_svg(picture: Any) -> str:
    """Return a picture as the text of an SVG."""
    text = StringIO()
    picture.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return text.getvalue()


def _curves(axes: Any, rows: Rows, attack: str, figure: str) -> None:
    label = LABELS[figure]
    columns = dict.fromkeys(map(column_of, rows))
    for column, mark in zip(columns, cycle(_MARKS), strict=False):
        points = sorted(
            (one.share * 100, label.scaled(row[figure].mean), _half(row, figure))
            for one, row in rows.items()
            if column_of(one) == column and (one.attack == attack or not one.share)
        )
        shares, means, halves = zip(*points, strict=True)
        axes.errorbar(
            shares, means, halves, marker=mark, markersize=5, capsize=3, label=column,
            **(_OURS if column == "ours" else {}),
        )  # fmt: skip
    axes.set_xlabel("malicious principals (%)")
    axes.set_ylabel(label.axis)
    axes.set_title(f"{attack}: {_said_of(rows)}")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def _overview(axes: Any, rows: Rows, figure: str) -> None:
    """Draw all attacks, one line each, with a dot for each defence."""
    label = LABELS[figure]
    attacks = list(dict.fromkeys(map(attack_of, rows)))
    columns = list(dict.fromkeys(map(column_of, rows)))
    for number, (column, mark) in enumerate(zip(columns, cycle(_MARKS), strict=False)):
        aside = (number + 0.5) / len(columns) - 0.5  # beside each other, and not on each other
        points = [
            (attacks.index(attack_of(one)) + 0.8 * aside,
             label.scaled(row[figure].mean), _half(row, figure))
            for one, row in rows.items()
            if column_of(one) == column
        ]  # fmt: skip
        places, means, halves = zip(*points, strict=True)
        axes.errorbar(
            means, places, xerr=halves, fmt=mark, markersize=4.5, capsize=2, label=column,
            **(_OURS if column == "ours" else {}),
        )  # fmt: skip
    axes.set_yticks(range(len(attacks)), attacks)
    axes.set_ylim(len(attacks) - 0.5, -0.5)
    _from_nothing(axes, [label.scaled(row[figure].mean) for row in rows.values()])
    axes.set_xlabel(f"{label.axis}; {_said_of(rows)}")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _all_figures(axes: Any, row: Row) -> None:
    """Draw those figures of one row that are shares."""
    shown = [name for name, label in LABELS.items() if label.is_share and name in row]
    means = [LABELS[name].scaled(row[name].mean) for name in shown]
    places = range(len(shown))
    axes.errorbar(
        means, places, xerr=[_half(row, name) for name in shown], fmt="o", markersize=5, capsize=3
    )
    axes.set_yticks(places, [f"{LABELS[name].name}, of {LABELS[name].of}" for name in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    _from_nothing(axes, means)
    axes.grid(axis="x", alpha=0.3)


def _from_nothing(axes: Any, means: Sequence[float]) -> None:
    """Let the axis begin at 0, and no wide interval push all else into a corner."""
    axes.set_xlim(0.0, min(axes.get_xlim()[1], 1.5 * max([1.0, *means])))


def _said_of(rows: Rows) -> str:
    has_intervals = any(row["bad"].half is not None for row in rows.values())
    return "means and 95 % confidence intervals" if has_intervals else "one seed, no intervals"


def _half(row: Row, figure: str) -> float:
    return LABELS[figure].scaled(row[figure].half or 0.0)


@contextmanager
def _blank(height: float) -> Iterator[tuple[Any, Any]]:
    pyplot = _pyplot()
    picture, axes = pyplot.subplots(figsize=(7.2, height), layout="constrained")
    try:
        yield picture, axes
    finally:
        pyplot.close(picture)


def _file_name(figure: str, attack: str) -> str:
    plain = "".join(one if one.isalnum() else "-" for one in attack.replace("+", "and"))
    return f"{figure}-{'-'.join(part for part in plain.split('-') if part)}"


def _pyplot() -> Any:
    try:
        matplotlib: Any = import_module("matplotlib")
    except ImportError as error:
        raise ConfigError("pictures need matplotlib: pip install 'bazaar[simulations]'") from error
    matplotlib.use("agg")
    matplotlib.rcParams["svg.hashsalt"] = "bazaar"
    matplotlib.rcParams["svg.fonttype"] = "none"
    return import_module("matplotlib.pyplot")
