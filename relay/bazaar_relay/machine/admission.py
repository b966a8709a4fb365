"""Whether a record may come in at all, before anyone looks at what it means."""

import ipaddress
from dataclasses import dataclass, field
from typing import Final

from bazaar_protocol import frames, limits
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Advert, Heartbeat
from bazaar_protocol.records import Record
from bazaar_relay.machine.buckets import Buckets, Rate
from bazaar_relay.machine.carrying import LinkPolicy
from bazaar_relay.machine.difficulty import WorkPolicy
from bazaar_relay.machine.retention import Retention

_VALUES_PER_RECORD: Final = 8
"""So many values of a filter cost about as much as one record."""
_WHOLE: Final = 100
"""Percent."""
_STRANGERS: Final = Rate(limits.STRANGER_WRITES_PER_S_MAX, saved=2)


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator decides."""

    records_per_s: int = limits.RECORDS_PER_S_MAX
    """For each identity, on all its links; it may save up for two seconds."""
    bytes_per_s: int = limits.BYTES_PER_S_MAX
    """For each identity likewise, of records and letters."""
    blocked: frozenset[AgentId] = frozenset()
    """Neither their records nor their links are taken."""
    allowed: frozenset[AgentId] = frozenset()
    """They are known from the start: all the allowance there is, and no proof of work."""
    only_allowed: bool = False
    """Nobody else is served."""
    bytes_per_day: int = 0
    """What may be kept of each author; 0 for any amount."""
    links: int = limits.LINKS_PER_AGENT_MAX
    """For each identity."""
    subscriptions: int = limits.LINKS_PER_AGENT_MAX
    """For each identity; a link has one."""
    open_posts: int = limits.POSTS_OPEN_PER_AGENT_MAX
    """Of each author."""
    posts: int = limits.POSTS_OPEN_MAX
    """Of all together."""
    adverts: int = limits.ADVERTS_LIVE_MAX
    """Of all together."""
    address_records_per_s: int = limits.ADDRESS_RECORDS_PER_S_MAX
    """For all who come from one address."""
    address_bytes_per_s: int = limits.ADDRESS_BYTES_PER_S_MAX
    newcomer_percent: int = _WHOLE
    """How much of an identity's allowances it has before it has written anything here."""
    grown_entries: int = 1000
    """With so many entries of its log here it has all of them, and is known without any work."""
    peers: frozenset[AgentId] = frozenset()
    """Relays of which all is taken that they have, and whose letters are passed on."""
    retention: Retention = field(default_factory=Retention)
    """How long records stay."""
    work: WorkPolicy = field(default_factory=WorkPolicy)
    carrying: LinkPolicy = field(default_factory=LinkPolicy)
    """Of what nodes say to each other on relayed links."""

    @property
    def grows(self) -> bool:
        """Whether it matters for allowances how much there is of a log."""
        return self.newcomer_percent < _WHOLE

    def serves(self, agent: AgentId) -> bool:
        """Tell whether ``agent`` is wanted here at all."""
        if agent in self.blocked:
            return False
        return not self.only_allowed or agent in self.allowed or agent in self.peers

    def percent(self, agent: AgentId, entries: int) -> int:
        """Return how much of the allowances an agent has whose log has ``entries`` here."""
        if agent in self.allowed or entries >= self.grown_entries:
            return _WHOLE
        rest = _WHOLE - self.newcomer_percent
        return self.newcomer_percent + rest * entries // self.grown_entries


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for something, from where, and how much this relay has of its log."""

    agent: AgentId
    address: str = ""
    """What ``network_of`` makes of it."""
    entries: int = 0
    is_strange: bool = False
    """Little of what it hands in is even looked at, so that what counts is how often."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a request uses up of an identity's allowance."""

    records: int
    bytes: int = 0


def cost_of(
    frame: frames.Publish | frames.Claim | frames.Mail | frames.Collect | frames.Subscribe,
) -> Cost:
    """Return what taking ``frame`` costs."""
    match frame:
        case frames.Publish(records=records):
            return Cost(max(1, len(records)), sum(map(len, records)))
        case frames.Mail(sealed=sealed):
            return Cost(1, len(sealed))
        case frames.Subscribe(filters=filters):
            return Cost(1 + sum(map(_values, filters)) // _VALUES_PER_RECORD)
        case _:
            return Cost(1)


def _values(wanted: frames.Filter) -> int:
    parts = (wanted.kinds, wanted.authors, wanted.tasks, wanted.to, wanted.tags)
    return sum(map(len, parts))


class Admission:
    """The policy, and how much of their allowances identities and addresses have used."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._records: Buckets[AgentId] = Buckets()
        self._bytes: Buckets[AgentId] = Buckets()
        self._strange: Buckets[AgentId] = Buckets()
        self._kept: Buckets[AgentId] = Buckets()
        self._address_records: Buckets[str] = Buckets()
        self._address_bytes: Buckets[str] = Buckets()

    def take(self, caller: Caller, cost: Cost, now_ms: int) -> str:
        """Count ``cost`` against the allowances of ``caller``; return why not if one is used up."""
        policy, agent, network = self.policy, caller.agent, caller.address
        if agent in policy.peers:
            return ""  # what it may make us do is bounded by its links
        if caller.is_strange:
            cost = Cost(1, cost.bytes)
            if not self._strange.has_left(agent, _STRANGERS, now_ms):
                return f"at most {_STRANGERS.amount} frames per second without a stamp"
            self._strange.spend(agent, _STRANGERS, 1, now_ms)
        percent = policy.percent(agent, caller.entries)
        records = Rate(policy.records_per_s, saved=2).scaled(percent)
        size = Rate(policy.bytes_per_s, saved=2).scaled(percent)
        if not self._records.has_left(agent, records, now_ms):
            return f"at most {records.amount} records per second"
        if not self._bytes.has_left(agent, size, now_ms):
            return f"at most {size.amount} bytes per second"
        address_records = Rate(policy.address_records_per_s, saved=2)
        address_size = Rate(policy.address_bytes_per_s, saved=2)
        if network:
            if not self._address_records.has_left(network, address_records, now_ms):
                return f"at most {address_records.amount} records per second from one address"
            if not self._address_bytes.has_left(network, address_size, now_ms):
                return f"at most {address_size.amount} bytes per second from one address"
            self._address_records.spend(network, address_records, cost.records, now_ms)
            self._address_bytes.spend(network, address_size, cost.bytes, now_ms)
        self._records.spend(agent, records, cost.records, now_ms)
        self._bytes.spend(agent, size, cost.bytes, now_ms)
        return ""

    def keeping_refusal(self, author: Caller, now_ms: int) -> str:
        """Return why no more is kept of ``author`` for now, as a status; empty if it is."""
        rate = self._keeping_rate(author)
        if rate is None or self._kept.has_left(author.agent, rate, now_ms):
            return ""
        return f"rate-limited: at most {rate.amount} bytes per day are kept of one author"

    def keep(self, author: Caller, size: int, now_ms: int) -> None:
        """Count what is kept of ``author``."""
        rate = self._keeping_rate(author)
        if rate is not None:
            self._kept.spend(author.agent, rate, size, now_ms)

    def open_posts(self, author: Caller) -> int:
        """Return how many posts of ``author`` may be open here."""
        return max(1, self.policy.open_posts * self._percent(author) // _WHOLE)

    def posts(self, author: Caller) -> int:
        """Return how many posts may be open here altogether while ``author`` opens one more."""
        return self._places(author, self.policy.posts)

    def adverts(self, author: Caller) -> int:
        """Return how many adverts may be held here while ``author`` brings a new one."""
        return self._places(author, self.policy.adverts)

    def _places(self, author: Caller, places: int) -> int:
        # Half of all is kept for those with a history here, in the measure of theirs: else who
        # makes up identities could take the last place, and nobody would be seen beside them.
        percent = 0 if author.is_strange else self._percent(author)
        return places * (_WHOLE + percent) // (2 * _WHOLE)

    def _percent(self, author: Caller) -> int:
        return self.policy.percent(author.agent, author.entries)

    def _keeping_rate(self, author: Caller) -> Rate | None:
        if not self.policy.bytes_per_day:
            return None
        return Rate(self.policy.bytes_per_day, limits.DAY_MS).scaled(self._percent(author))

    def refusal(self, record: Record, now_ms: int) -> str | None:
        """Return why ``record`` is not taken, or None."""
        if not self.policy.serves(record.author):
            return "blocked: this relay takes nothing from its author"
        if record.time_ms > now_ms + limits.RECORD_FUTURE_MS_MAX:
            ahead_s = (record.time_ms - now_ms) // limits.SECOND_MS
            return f"expired: it is dated {ahead_s} s ahead of this relay's clock"
        is_beat = isinstance(record.body, Heartbeat)
        age_ms_max = limits.HEARTBEAT_AGE_MS_MAX if is_beat else limits.RECORD_AGE_MS_MAX
        if record.seq == 0 and record.time_ms < now_ms - age_ms_max:
            return "expired: it is too old to be taken as new"
        if isinstance(record.body, Advert) and record.body.expires_in_ms > 0:
            # Otherwise anyone could bring back the adverts that an agent has let expire.
            expires_ms = record.time_ms + record.body.expires_in_ms + limits.CLOCK_SLACK_MS
            if expires_ms < now_ms:
                return "expired: the advert is over by its own date"
        return None


def network_of(address: str) -> str:
    """Return what counts as one address: of version 6 what one customer has, 64 bits of it.

    Nothing is counted for this machine itself, which is returned as an empty text: its agents are
    the operator's, or come through a proxy that makes all the world look like one address.
    """
    try:
        host = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""  # links in memory
    if isinstance(host, ipaddress.IPv6Address):
        four = host.ipv4_mapped
        if four is None and not host.is_loopback:
            return str(ipaddress.ip_network((int(host), 64), strict=False))
        host = host if four is None else four
    return "" if host.is_loopback else str(host)
