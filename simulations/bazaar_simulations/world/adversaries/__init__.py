"""Adversaries in a world: real nodes and relays that do one thing differently, and strangers."""
