"""What a process counts about itself, in the text format that Prometheus reads."""

from collections.abc import Sequence
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_PREFIX: Final = "bazaar"
_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The metrics of one node or relay; several in one process do not mix.

    Label values have to come from a small, fixed set: one that a stranger chooses, an agent's name
    say, would make memory grow without a bound.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

    def counter(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Counter:
        """Return a count that only grows: ``bazaar_<name>_total``."""
        return Counter(name, meaning, labels, namespace=_PREFIX, registry=self.registry)

    def gauge(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Gauge:
        """Return a value that goes up and down."""
        return Gauge(name, meaning, labels, namespace=_PREFIX, registry=self.registry)

    def histogram(
        self,
        name: str,
        meaning: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float] = _SECONDS,
    ) -> Histogram:
        """Return a distribution; the buckets fit seconds from half a millisecond to ten."""
        return Histogram(
            name, meaning, labels, namespace=_PREFIX, registry=self.registry, buckets=buckets
        )


def render(registry: CollectorRegistry) -> bytes:
    """Return every metric of ``registry`` as text of type ``CONTENT_TYPE``."""
    return generate_latest(registry)
