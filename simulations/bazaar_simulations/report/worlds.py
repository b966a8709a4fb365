"""The report of worlds of real nodes: which were run, and what broke."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bazaar_simulations.report.markup import Markup, element, table
from bazaar_simulations.report.page import code, page, section
from bazaar_simulations.report.population import Origin
from bazaar_simulations.world.scenario import Scenario
from bazaar_simulations.world.world import World

_DIGEST_CHARS = 16


@dataclass(frozen=True, slots=True)
class Ran:
    """One world that has come to its end."""

    seed: int
    virtual_s: float
    tasks: int
    """How many were posted."""
    lines: int
    """How long its log is."""
    digest: str
    """The beginning of the log's hash: the same for the same world."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What came of it: tasks, and how far adversaries got."""

    @classmethod
    def of(cls, seed: int, world: World) -> "Ran":
        """Return what is to be said of ``world``."""
        return cls(
            seed=seed,
            virtual_s=world.loop.time(),
            tasks=sum(len(node.posted) for node in world.nodes),
            lines=len(world.journal.lines),
            digest=world.journal.digest[:_DIGEST_CHARS],
            figures=world.figures,
        )


def report(
    kind: Scenario,
    origin: Origin,
    ran: Sequence[Ran],
    *,
    broken: str = "",
    left_out: str = "",
) -> str:
    """Return the report of worlds of one kind as HTML.

    Args:
        kind: Which.
        origin: Where it comes from.
        ran: Those in which nothing broke.
        broken: What is to be read when something did.
        left_out: Why worlds are missing, if any are.

    """
    virtual_s = sum(one.virtual_s for one in ran)
    facts = [
        ("command", code(origin.command)),
        ("seeds", f"{origin.seeds[0]} to {origin.seeds[-1]}"),
        ("when", origin.when),
        ("version", f"bazaar {origin.version}"),
        ("simulated", f"{kind.agents} nodes, {kind.relays} relay{'s' * (kind.relays != 1)}; "
                      f"{virtual_s:,.0f} seconds in all"),
    ]  # fmt: skip
    if left_out:
        facts.append(("not whole", element("strong", left_out, class_="missed")))
    rows = [
        [str(one.seed), f"{one.virtual_s:,.0f}", str(one.tasks), f"{one.lines:,}", one.digest]
        for one in ran
    ]
    head = ["seed", "seconds", "tasks posted", "lines of its log", "hash of its log"]
    worlds = table(head, rows, caption="Worlds in which every invariant held to the end")
    failure = (
        section("What broke", element("pre", broken))
        if broken
        else section("Invariants", element("p", "None was broken.", class_="met"))
    )
    return page(
        f"{kind.name}: {kind.about}", facts, failure,
        section("Worlds", worlds) if ran else Markup(""),
        element("footer", "One seed is one world, to the byte of its log, in any process. "
                          "What is watched is said in docs/simulations.md."),
    )  # fmt: skip
