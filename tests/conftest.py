"""What holds for every test: how thoroughly hypothesis looks, that logging is put back, a server.

Hypothesis looks a little here, the same each time on the server, long at night. The profile is
named by ``HYPOTHESIS_PROFILE``; ``make check`` chooses ``ci`` where ``CI`` is set.
"""

import logging
import os
from collections.abc import Generator
from datetime import timedelta

import pytest
import structlog
from hypothesis import settings
from tests import postgres

# The deadline is for one example. Two busy cores are no reason to fail, so only `dev` has one.
settings.register_profile("dev", max_examples=50, deadline=timedelta(seconds=2))
settings.register_profile("ci", max_examples=100, derandomize=True, deadline=None, print_blob=True)
settings.register_profile("nightly", max_examples=5_000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.fixture(autouse=True)
def restored_logging() -> Generator[None]:
    """Put logging back: a command that ran in this process sent it to a stream that is closed."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres_server() -> Generator[postgres.Server]:
    """A PostgreSQL server for the whole run; who asks for it is left out where there is none."""
    if reason := postgres.missing():
        pytest.skip(reason)
    with postgres.running() as server:
        yield server
