"""A node's links: to its relays, and to other nodes for what is too large to mail."""
