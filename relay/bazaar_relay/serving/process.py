"""A relay as a process: its store, its links and its HTTP port, until it is told to stop."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from bazaar_host.bridge import Libp2pTransport
from bazaar_host.clock import SteadyClock
from bazaar_host.key_files import Passphrase
from bazaar_host.links import RELAY_PROTOCOL
from bazaar_host.local_network import LocalNetwork
from bazaar_host.logs import logger
from bazaar_host.signals import stop_on_signals
from bazaar_protocol.errors import ConfigError, LinkClosed, Refused, Unreachable
from bazaar_protocol.frames import (
    VERSION,
    Error,
    Hello,
    Welcome,
    decode_from_relay,
    encode_frame,
)
from bazaar_protocol.framing import pack
from bazaar_protocol.identity import Keypair
from bazaar_protocol.limits import REQUEST_TIMEOUT_S
from bazaar_relay import homes
from bazaar_relay.high_water import high_water
from bazaar_relay.homes import Home
from bazaar_relay.peering.marks import Marks
from bazaar_relay.serving.information import software
from bazaar_relay.serving.service import Options, RelayService
from bazaar_relay.serving.stores import open_store
from bazaar_relay.serving.web import open_web
from bazaar_relay.settings import FileSettings

_NAME_BYTES = 32
_PEERS_EVERY_S = 0.5


async def run_relay(
    home: Path,
    settings: FileSettings,
    *,
    passphrase: Passphrase,
    on_ready: Callable[[Sequence[str]], None],
    reload: Callable[[], FileSettings],
) -> None:
    """Run the relay in ``home`` until SIGINT or SIGTERM.

    On SIGHUP it asks ``reload`` for its settings again, and reads the lists of who is blocked and
    who is allowed; what concerns admission holds from then on.

    ``passphrase`` is asked if the key is locked. ``on_ready`` is called once, with the addresses
    at which the relay can be dialed.

    Raises:
        LocalError: The relay cannot run.

    """
    stop = stop_on_signals()
    place = Home(home)
    keys, recovery = homes.open_keys(place, passphrase)
    settings.whereabouts(keys.agent, ())  # refuses what is wrong before anything is opened
    settings.check_peers(keys.agent)
    async with AsyncExitStack() as stack:
        service, transport = await _open(stack, place, settings, keys=keys, recovery=recovery)
        addresses = service.addresses
        http = ""
        if (web_place := settings.http_place()) is not None:
            http = await stack.enter_async_context(open_web(service, web_place))
        word = stack.enter_context(homes.announced(place, addresses, http))
        _reload_on_hangup(partial(_reload, place, service, reload), word.reloaded)
        whereabouts = settings.whereabouts(keys.agent, transport.addresses)
        if whereabouts.may_change:
            following = whereabouts.follow(partial(_move, service, word))
            await stack.enter_async_context(_beside(following))
        if settings.mdns:
            announcing = LocalNetwork(settings.mdns_interfaces).announce(
                keys.agent, whereabouts.addresses
            )
            await stack.enter_async_context(_beside(announcing))
        stack.callback(asyncio.create_task(_tell_of_peers(service, word)).cancel)
        logger("relay").info("serving", addresses=transport.addresses, http=http)
        on_ready(addresses)
        await stop.wait()
        logger("relay").info("stopping")
        await service.drain()  # before the links close


async def _open(
    stack: AsyncExitStack, place: Home, settings: FileSettings, *, keys: Keypair, recovery: bytes
) -> tuple[RelayService, Libp2pTransport]:
    """Open the store, serve it, and listen, until ``stack`` is left."""
    store = await stack.enter_async_context(open_store(place, settings.store, keys.agent))
    await stack.enter_async_context(high_water(place.high_water_path, keys.agent, store))
    options = Options(
        policy=settings.policy(place.lists()),
        about=settings.about(),
        recovery=recovery,
        clock=SteadyClock().now_ms,
    )
    service = await stack.enter_async_context(RelayService.open(keys, store, options))
    bounds = settings.connection_limits()
    transport = await stack.enter_async_context(
        Libp2pTransport.open(
            keys,
            settings.listen,
            [RELAY_PROTOCOL],
            service.on_link,
            bounds=bounds,
            on_breach=service.counters.count_breach,
        )
    )
    service.addresses = settings.whereabouts(keys.agent, transport.addresses).addresses()
    await service.peers.open(transport, Marks(place.peers_path))
    service.peers.follow(settings.peers)
    if not service.addresses:
        logger("relay").warning("this machine has no address to tell others; give --announce")
    return service, transport


async def _tell_of_peers(service: RelayService, word: homes.Word) -> None:
    """Let the other commands know how things stand with peers."""
    while True:
        await asyncio.sleep(_PEERS_EVERY_S)
        try:
            word.heard(service.peers.states)
        except ConfigError as error:
            logger("relay").error("nobody can be told of that", trouble=str(error))


def _reload_on_hangup(reload: Callable[[], str], tell: Callable[[str], None]) -> None:
    """Have SIGHUP reload, and tell the other commands what came of it."""

    def on_hangup() -> None:
        try:
            tell(reload())
        except ConfigError as error:
            logger("relay").error("nobody can be told of that", trouble=str(error))

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, on_hangup)


def _reload(place: Home, service: RelayService, reload: Callable[[], FileSettings]) -> str:
    """Go on with what the settings and lists say now; return why not, if they are wrong."""
    try:
        settings = reload()
        policy = settings.policy(place.lists())
        settings.check_peers(service.peers.me)
    except ConfigError as error:
        logger("relay").error("the settings stay as they were", trouble=str(error))
        return str(error)
    service.change_policy(policy)
    service.peers.follow(settings.peers)
    logger("relay").info("settings read again", blocked=len(policy.blocked))
    return ""


@asynccontextmanager
async def _beside(work: Coroutine[None, None, None]) -> AsyncGenerator[None]:
    """Do some work until the block is left."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))
        if not task.cancelled():
            task.result()  # it ended before, by a bug


def _move(service: RelayService, word: homes.Word, addresses: tuple[str, ...]) -> None:
    """Tell others where the relay is now."""
    logger("relay").info("addresses changed", addresses=addresses)
    service.addresses = addresses
    try:
        word.moved(addresses)
    except ConfigError as error:
        logger("relay").error("the other commands cannot be told of that", trouble=str(error))


async def fetch_information(address: str) -> bytes:
    """Dial a relay, as nobody in particular, and return its information document.

    Raises:
        ConfigError: ``address`` is none, or does not say who should answer.
        Unreachable: It does not answer as that relay.
        Refused: It does not talk to us.

    """
    keys = Keypair(os.urandom(_NAME_BYTES))
    async with Libp2pTransport.open(keys, [], [RELAY_PROTOCOL], lambda link: link.close()) as links:
        link = await links.dial(None, [address], RELAY_PROTOCOL)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                await link.send(pack(encode_frame(Hello(VERSION, software(), ()))))
                answer = decode_from_relay((await link.receive())[0])
        except (LinkClosed, TimeoutError) as error:
            raise Unreachable(f"{address} took the link and did not answer") from error
    match answer:
        case Welcome(information=information):
            return information
        case Error(code=code, reason=reason):
            raise Refused(code, reason)
        case _:
            raise Unreachable(f"{address} does not speak as a relay does")
