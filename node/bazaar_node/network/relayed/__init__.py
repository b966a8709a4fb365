"""Links to other nodes through a relay that sees only ciphertext."""
