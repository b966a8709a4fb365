"""Simulations of bazaar: a small world of the real code, and what adversaries make of it."""
