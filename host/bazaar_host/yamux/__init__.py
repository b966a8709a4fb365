"""Yamux (hashicorp/yamux, version 0): many streams over one connection. Pure; see ``session``."""
