"""What a node knows of others: their histories, the evidence in them, and what that says."""
