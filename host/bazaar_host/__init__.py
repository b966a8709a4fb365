"""The runtime under nodes and relays: links to peers, storage, logs and metrics."""
