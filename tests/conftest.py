"""How thoroughly hypothesis looks: a little here, the same each time on the server, long at night.

The profile is named by ``HYPOTHESIS_PROFILE``; ``make check`` chooses ``ci`` where ``CI`` is set.
"""

import os
from datetime import timedelta

from hypothesis import settings

# The deadline is for one example. Two busy cores are no reason to fail, so only `dev` has one.
settings.register_profile("dev", max_examples=50, deadline=timedelta(seconds=2))
settings.register_profile("ci", max_examples=100, derandomize=True, deadline=None, print_blob=True)
settings.register_profile("nightly", max_examples=5_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
