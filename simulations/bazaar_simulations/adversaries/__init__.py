"""Adversaries: what those do who want something else than the work done."""
