"""What the tests of the relay's machine begin with; a test that needs other ones makes its own."""

import pytest
from tests.market_records import Trader
from tests.relay_driver import Driver


@pytest.fixture
async def driver() -> Driver:
    return await Driver().start()


@pytest.fixture
def ada() -> Trader:
    return Trader.named("ada")


@pytest.fixture
def bo() -> Trader:
    return Trader.named("bo")


@pytest.fixture
def cy() -> Trader:
    return Trader.named("cy")
