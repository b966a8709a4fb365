"""What tests of the relay's machine and of yamux begin with; who needs others makes their own."""

import pytest
from tests.market_records import Trader
from tests.relay_driver import Driver

from bazaar_host.yamux.session import Session


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


@pytest.fixture
def dialer() -> Session:
    return Session(is_initiator=True)


@pytest.fixture
def listener() -> Session:
    return Session(is_initiator=False)
