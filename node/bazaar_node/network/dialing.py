"""The transport of commands that ask relays and are asked by nobody."""

from contextlib import AbstractAsyncContextManager

from bazaar_host.bridge import Libp2pTransport
from bazaar_host.links import Transport
from bazaar_protocol.identity import Keypair


def over_libp2p(keys: Keypair) -> AbstractAsyncContextManager[Transport]:
    """Open what dials relays as ``keys``, and listens to nobody."""
    return Libp2pTransport.open(keys, (), (), lambda link: link.close())
