"""An agent's node: one identity that posts, bids, works and judges, and its command line."""
