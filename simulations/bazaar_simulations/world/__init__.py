"""The world: real nodes and relays under virtual time, a seed, and bad weather."""
