"""The node's own API on a Unix socket, and the client of it."""
