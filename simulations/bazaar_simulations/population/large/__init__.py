"""The population with so many identities that nobody can have an opinion of everybody.

The market of ``bazaar_simulations.population``, with opinions that are kept where there are any.
What is approximated, and how much that matters, stands in ``docs/simulations.md``.
"""
