"""Every record that somebody in a world has kept, checked once by the world itself."""

from bazaar_protocol.errors import Equivocation, MalformedRecord, RemoteError
from bazaar_protocol.evidence import check_omission
from bazaar_protocol.evidence_kinds import Omission, Proof, Reset
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Award
from bazaar_protocol.log import check_proof
from bazaar_protocol.records import Record, RecordId, record_id, unseal
from bazaar_simulations.world.broken import BrokenInvariant
from bazaar_simulations.world.journal import short


class KnownRecords:
    """All records by their ids.

    Args:
        honest: Who is, with names: whoever runs our code unchanged.
        awards_are_unique: Whether nobody ever awards an epoch twice. Who comes back with an old
            copy, while the relay that has its award is away, cannot know of it.

    """

    def __init__(self, honest: dict[AgentId, str], *, awards_are_unique: bool) -> None:
        self._honest = honest
        self._awards_are_unique = awards_are_unique
        self._records: dict[RecordId, Record] = {}
        self._places: dict[tuple[AgentId, RecordId], list[Record]] = {}
        self._awards: dict[tuple[AgentId, bytes, int], Record] = {}

    def get(self, name: RecordId) -> Record | None:
        """Return a record that somebody has accepted."""
        return self._records.get(name)

    def take(self, raw: bytes, keeper: str) -> Record:
        """Return the record in ``raw``, which ``keeper`` has accepted.

        Raises:
            BrokenInvariant: Nobody signed that.

        """
        known = self._records.get(record_id(raw))
        if known is not None:
            return known
        try:
            record = unseal(raw)
        except RemoteError as error:
            raise BrokenInvariant("no forged record is accepted", f"{keeper}: {error}") from error
        self._records[record.id] = record
        self._check_accusation(record, keeper)
        return record

    def spread(self, record: Record) -> None:
        """Take note that others can see a log entry of somebody honest.

        Raises:
            BrokenInvariant: It makes a proof against its author.

        """
        if not record.seq or record.author not in self._honest:
            return
        others = self._places.setdefault((record.author, record.prev), [])
        if any(other.id == record.id for other in others):
            return
        if others and not any(isinstance(one.body, Reset) for one in (record, *others)):
            name = self._honest[record.author]
            kinds = ", ".join(one.kind for one in (*others, record))
            raise BrokenInvariant(
                "nobody honest is ever exposed", f"{name} signed twice for {record.seq}: {kinds}"
            )
        others.append(record)

    def keep(self, record: Record) -> None:
        """Take note that a relay has a record, so that its author can know of it again.

        Raises:
            BrokenInvariant: It is an award of an epoch that was awarded before.

        """
        self.spread(record)
        body = record.body
        is_ours = record.author in self._honest and self._awards_are_unique
        if not is_ours or not isinstance(body, Award):
            return
        place = (record.author, body.task, body.epoch)
        known = self._awards.setdefault(place, record)
        if known.id != record.id:
            raise BrokenInvariant(
                "at most one live epoch for each task",
                f"{self._honest[record.author]} awarded epoch {body.epoch} of task "
                f"{short(body.task)} twice",
            )

    def _check_accusation(self, record: Record, keeper: str) -> None:
        try:
            match record.body:
                case Proof() as proof:
                    accused = check_proof(proof)
                case Omission() as omission:
                    accused = check_omission(omission)
                case _:
                    return
        except (Equivocation, MalformedRecord):
            return  # it proves nothing
        if accused in self._honest:
            name = self._honest[accused]
            raise BrokenInvariant(
                "nobody honest is ever exposed", f"{keeper} has a {record.kind} against {name}"
            )
