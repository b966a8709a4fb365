"""The dashboard in docs asks for nothing that a relay does not count."""

import json
import re
from pathlib import Path
from typing import Any

from bazaar_host.metrics import Metrics, render
from bazaar_relay.serving.counters import Counters

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana-relay.json"
_METRIC = re.compile(r"\b(?:bazaar|process)_\w+")
_OF_A_HISTOGRAM = re.compile(r"_(?:bucket|sum|count)\Z")


def _asked_for(dashboard: dict[str, Any]) -> set[str]:
    expressions = [one["expr"] for panel in dashboard["panels"] for one in panel["targets"]]
    expressions += [one["query"]["query"] for one in dashboard["templating"]["list"]
                    if isinstance(one["query"], dict)]  # fmt: skip
    return {name for one in expressions for name in _METRIC.findall(one)}


def test_every_metric_of_the_dashboard_is_one_that_a_relay_has() -> None:
    text = render(Counters(Metrics()).registry).decode()
    known = {line.split()[2]: line.split()[3] for line in text.splitlines() if "# TYPE" in line}
    asked = _asked_for(json.loads(DASHBOARD.read_text()))
    assert len(asked) >= 10
    for name in asked:
        assert name in known or known.get(_OF_A_HISTOGRAM.sub("", name)) == "histogram", name


def test_a_panel_has_a_place_and_a_title_of_its_own() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    places = [(one["gridPos"]["x"], one["gridPos"]["y"]) for one in panels]
    assert len(set(places)) == len({one["title"] for one in panels}) == len(panels)
