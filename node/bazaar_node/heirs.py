"""What a node does when it hears that an identity was ended: check it, keep it, act on it."""

from collections.abc import Callable, Sequence

from bazaar_host.logs import logger
from bazaar_node.driver import Driver
from bazaar_node.market.events import Cancelled
from bazaar_node.network.own_log import entry
from bazaar_node.network.relay_session import RelaySession
from bazaar_node.storage.ended import write_ended
from bazaar_node.storage.store import NodeStore
from bazaar_protocol.errors import BadSignature, IdentityEnded, MalformedRecord, RemoteError
from bazaar_protocol.evidence_kinds import Succession
from bazaar_protocol.identity import AgentId, to_did
from bazaar_protocol.log import check_succession
from bazaar_protocol.records import Record, unseal

REASON = "the key of its poster was stolen"

log = logger(__name__)


class Heirs:
    """Learns of successions.

    Args:
        me: Who we are.
        store: Keeps them.
        driver: Its agent is to know them.
        sessions: Returns the relays that can be asked.

    """

    def __init__(
        self,
        me: AgentId,
        store: NodeStore,
        driver: Driver,
        sessions: Callable[[], Sequence[RelaySession]],
    ) -> None:
        self._me = me
        self._store = store
        self._driver = driver
        self._sessions = sessions

    async def learn(self, record: Record, source: RelaySession) -> None:
        """Take a succession that ``source`` told us, if it is true; it is durable then.

        Raises:
            RemoteError: ``source`` cannot be asked what it is about.
            StorageError: It could not be kept; it has to be told again.
            IdentityEnded: It is us who were ended.

        """
        body = record.body
        assert isinstance(body, Succession)
        genesis = await self._genesis(AgentId(body.old), source)
        if genesis is None:
            return
        try:
            check_succession(record, genesis)
        except (MalformedRecord, BadSignature) as error:
            log.info("succession not believed", of=to_did(genesis.author), trouble=str(error))
            return
        if body.old == self._me:
            raise IdentityEnded(
                f"the recovery key has ended this identity; {to_did(AgentId(body.new))} carries "
                "on, and nothing that this node signs counts any more"
            )
        await write_ended(self._store, record, genesis)
        if self._driver.agent.successions.add(record):
            await self._let_go(AgentId(body.old))

    async def _genesis(self, agent: AgentId, source: RelaySession) -> Record | None:
        """Return how a log begins, as we or all relays that know it say; None if they do not agree.

        A thief can sign another beginning, which names a recovery key of his own.
        """
        if agent == self._me:
            return unseal((await self._store.log(1, 1))[0])
        found = {}
        for session in (source, *(one for one in self._sessions() if one is not source)):
            try:
                record = await entry(session, agent, 1)
            except RemoteError:
                if session is source and not session.is_connected:
                    raise  # it comes again with the next link
                continue
            found[record.id] = record
        return found.popitem()[1] if len(found) == 1 else None

    async def _let_go(self, old: AgentId) -> None:
        """Leave what we do for the thief; what the thief does for us ends with its lease."""
        for task in self._driver.agent.works_for(old):
            await self._driver.tell(Cancelled(task, REASON))
