"""For users' own tests: their agents in a small world, under virtual time (``bazaar_world``).

pytest loads ``plugin`` whenever it starts where bazaar is installed, so nothing is imported here.
"""
