"""How a relay follows the relays that it is told of: what they have, it pulls."""
