"""Who takes part in a world beside the honest, and who uses which relays."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from bazaar_simulations.world.adversaries.adversary import Adversary, Stranger
from bazaar_simulations.world.node_process import NodeProcess
from bazaar_simulations.world.relay_process import RelayProcess


@dataclass(frozen=True, slots=True)
class Cast:
    """The adversaries of a world, by their classes; each is called as its class says."""

    nodes: tuple[type[NodeProcess], ...] = ()
    """They trade like the others, or seem to."""
    relays: tuple[type[RelayProcess], ...] = ()
    """They stand behind the honest relays in everybody's list, if ``relays_first`` is not set."""
    relays_first: bool = False
    """Whether they stand in front: who wants a relay to sequence a task asks the first one."""
    strangers: tuple[type[Stranger], ...] = ()
    """They run nothing of ours."""
    uses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The relays of a node, by names; whoever is not in it uses all."""


class Names:
    """Names the processes of a world: the honest as always, the others as what they are."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def of(self, kind: object, usual: str) -> str:
        """Return the next name for one of a kind."""
        if isinstance(kind, type) and issubclass(kind, Adversary):
            usual = kind.profile.name.replace(" ", "-")
        self._taken[usual] += 1
        return usual if self._taken[usual] == 1 else f"{usual}{self._taken[usual]}"
