"""All that an agent goes by when it chooses whom to deal with."""

from dataclasses import dataclass, field

from bazaar_node.market.credit import Credit
from bazaar_node.market.experience import Experience
from bazaar_node.market.opinions import NoOpinions, Opinions
from bazaar_node.market.policy import Policies
from bazaar_node.market.probes import Probes


@dataclass(slots=True)
class Trust:
    """What an agent holds of others, what its owner allows, and what it has lived through."""

    opinions: Opinions = field(default_factory=NoOpinions)
    policies: Policies = field(default_factory=Policies)
    experience: Experience = field(default_factory=Experience)
    probes: Probes = field(default_factory=Probes)
    credit: Credit = field(default_factory=Credit)
