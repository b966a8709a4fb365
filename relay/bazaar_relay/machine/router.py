"""Which agents are told of a post, and who is woken next.

A post for one named worker goes to that worker. An auction's goes to as many matching agents as it
allows bidders. A claim's goes to one agent at a time: the next is woken when that one declines, or
has not claimed within ``WAKE_MS``; so the messages of a task do not grow with the market. An
auction for which nobody bids, at first or after an attempt that came to nothing, goes on likewise.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from bazaar_protocol import limits
from bazaar_protocol.identity import AgentId
from bazaar_protocol.kinds import Post
from bazaar_protocol.records import Record, RecordId
from bazaar_protocol.task import TERMINAL, State, Task
from bazaar_relay.machine.adverts import Adverts, LiveAdvert, prefixes
from bazaar_relay.machine.timers import Timer, Timers


@dataclass(slots=True)
class _OpenPost:
    record: Record
    terms: Post
    offered: dict[AgentId, None] = field(default_factory=dict)
    is_open: bool = True
    is_waking: bool = False
    """Somebody was woken and may still claim it."""
    has_bid: bool = False
    """Who was woken last has bid, or anyone in an auction."""


class Router:
    """The posts that may still find a worker."""

    def __init__(self, adverts: Adverts, timers: Timers) -> None:
        self._adverts = adverts
        self._timers = timers
        self._posts: dict[RecordId, _OpenPost] = {}
        self._by_capability: dict[str, dict[RecordId, None]] = {}
        self._counts: dict[AgentId, int] = {}

    def __len__(self) -> int:
        return len(self._posts)

    def count(self, poster: AgentId) -> int:
        """Return how many posts of ``poster`` are held here."""
        return self._counts.get(poster, 0)

    def record(self, post: RecordId) -> Record | None:
        """Return a post that is held here."""
        found = self._posts.get(post)
        return None if found is None else found.record

    def open(self, record: Record, terms: Post, now_ms: int) -> tuple[AgentId, ...]:
        """Take a new post and return whom it goes to first."""
        post = self.hold(record, terms, now_ms + terms.expires_in_ms)
        if terms.worker is not None:
            post.offered[AgentId(terms.worker)] = None
            return (AgentId(terms.worker),)
        wanted = terms.bidders_max if terms.mode == "auction" else 1
        chosen: list[AgentId] = []
        for agent in self._adverts.candidates(terms.capability, terms.capability_version):
            if agent != record.author:
                chosen.append(agent)
            if len(chosen) == wanted:
                break
        for agent in chosen:
            self._offer(post, agent, now_ms)
        if terms.mode == "auction":
            post.is_waking = True
            self._wake_at(post, now_ms + terms.bid_window_ms)
        return tuple(chosen)

    def hold(
        self, record: Record, terms: Post, expires_ms: int, *, offered: Iterable[AgentId] = ()
    ) -> _OpenPost:
        """Take a post that ``offered`` were told of before, and tell nobody."""
        post = _OpenPost(record, terms, dict.fromkeys(offered))
        self._posts[record.id] = post
        self._by_capability.setdefault(terms.capability, {})[record.id] = None
        self._counts[record.author] = self.count(record.author) + 1
        self._timers.set(Timer("post", record.id), expires_ms)
        return post

    def offered(self, post_id: RecordId) -> tuple[AgentId, ...]:
        """Return who was told of a post, in order; nobody if it is not held here."""
        post = self._posts.get(post_id)
        return () if post is None else tuple(post.offered)

    def resume(self, task: Task, now_ms: int) -> None:
        """Go on waking workers for a post that is held again after a restart."""
        post = self._posts.get(task.id)
        if post is None or not post.is_open or not post.offered or post.terms.mode == "direct":
            return
        if post.terms.mode == "auction":
            post.has_bid = any(bid.record.id not in task.spent for bid in task.bids)
        if not post.has_bid:
            # Whoever was woken last may be about to claim it.
            post.is_waking = True
            is_auction = post.terms.mode == "auction"
            self._wake_at(post, max(now_ms, task.window_ends_ms) if is_auction else now_ms)

    def drop(self, post_id: RecordId) -> None:
        """Forget a post, if it is held here."""
        post = self._posts.pop(post_id, None)
        if post is None:
            return
        posts = self._by_capability[post.terms.capability]
        del posts[post_id]
        if not posts:
            del self._by_capability[post.terms.capability]
        self._counts[post.record.author] -= 1
        if not self._counts[post.record.author]:
            del self._counts[post.record.author]
        self._timers.cancel(Timer("post", post_id))
        self._timers.cancel(Timer("wake", post_id))

    def follow(self, task: Task, now_ms: int, *, may_wake: bool = True) -> AgentId | None:
        """Take note of a task's new state; return whom to wake, if it is open again."""
        if task.state in TERMINAL:
            self.drop(task.id)
            return None
        post = self._posts.get(task.id)
        if post is None:
            return None
        was_open = post.is_open
        post.is_open = task.state is State.OPEN
        if post.terms.mode == "direct":
            return None
        if post.is_open and not was_open:
            if post.terms.mode == "claim" and may_wake:
                return self.wake_next(task.id, now_ms)
            post.has_bid, post.is_waking = False, True
            self._wake_at(post, now_ms)  # its sequencer may have another bid
        if not post.is_open:
            post.is_waking = False
            self._timers.cancel(Timer("wake", task.id))
            if task.state is State.AWARDED:
                # Nobody says so when an award is not accepted in time; then others may have it.
                self._wake_at(post, now_ms + post.terms.lease.schedule_to_start_ms)
        return None

    def told(self, post_id: RecordId, agent: AgentId, now_ms: int) -> None:
        """Take note that another process of this relay has told ``agent`` of a post."""
        post = self._posts.get(post_id)
        if post is None or agent in post.offered:
            return
        self._offer(post, agent, now_ms)
        if post.terms.mode == "auction":
            post.is_waking = True
            self._wake_at(post, now_ms)

    def declined(self, post_id: RecordId, agent: AgentId, now_ms: int) -> AgentId | None:
        """Take note that ``agent`` does not want a post; return whom to wake instead."""
        post = self._posts.get(post_id)
        if post is None or post.terms.mode != "claim" or not post.is_open:
            return None
        if next(reversed(post.offered), None) != agent:
            return None  # it was not this agent's turn any more
        return self.wake_next(post_id, now_ms)

    def wake_next(self, post_id: RecordId, now_ms: int) -> AgentId | None:
        """Return the next agent to tell of a post, if one is left that was not told."""
        post = self._posts.get(post_id)
        if post is None:
            return None
        post.is_open = True
        post.is_waking = False
        terms = post.terms
        for agent in self._adverts.candidates(terms.capability, terms.capability_version):
            if agent != post.record.author and agent not in post.offered:
                self._offer(post, agent, now_ms)
                if terms.mode == "auction":
                    post.is_waking = True
                    self._wake_at(post, now_ms)
                return agent
        return None

    def wait_longer(self, post_id: RecordId, bidder: AgentId, now_ms: int) -> None:
        """Give a bidder for a ``claim`` time to be awarded before the next one is woken.

        Only once, and to the one whose turn it is: else anyone could keep everyone waiting. In an
        auction one bid is enough for its sequencer to go on with.
        """
        post = self._posts.get(post_id)
        if post is not None and post.terms.mode == "auction" and bidder in post.offered:
            post.has_bid = True
            if post.is_open:
                post.is_waking = False
                self._timers.cancel(Timer("wake", post_id))
            return
        if post is None or next(reversed(post.offered), None) != bidder:
            return
        if post.is_waking and not post.has_bid:
            post.has_bid = True
            self._timers.set(Timer("wake", post_id), now_ms + limits.WAKE_MS)

    def take_back_offer(self, post_id: RecordId, agent: AgentId, now_ms: int) -> None:
        """Forget that ``agent`` was told: it could not be made durable. Try again in a moment."""
        post = self._posts.get(post_id)
        if post is not None and agent in post.offered:
            del post.offered[agent]
            if post.terms.mode != "direct":
                self._wake_at(post, now_ms)

    def arrived(self, advert: LiveAdvert, now_ms: int) -> list[Record]:
        """Return the posts that the author of a new advert is to be told of."""
        agent = advert.record.author
        wanted = min(advert.free_slots, limits.ROUTES_PER_ADVERT_MAX)
        chosen: list[_OpenPost] = []
        for examined, post in enumerate(self._matching(advert)):
            if len(chosen) == wanted or examined == limits.POSTS_EXAMINED_PER_ADVERT_MAX:
                break
            if agent != post.record.author and agent not in post.offered and _has_room(post):
                chosen.append(post)
        for post in chosen:
            self._offer(post, agent, now_ms)
        return [post.record for post in chosen]

    def _matching(self, advert: LiveAdvert) -> Iterator[_OpenPost]:
        seen: dict[RecordId, None] = {}
        for capability in advert.body.capabilities:
            for prefix in prefixes(capability.name):
                for post_id in self._by_capability.get(prefix, {}):
                    post = self._posts[post_id]
                    if post.terms.capability_version not in {0, capability.version}:
                        continue
                    if post_id not in seen:
                        seen[post_id] = None
                        yield post

    def _offer(self, post: _OpenPost, agent: AgentId, now_ms: int) -> None:
        post.offered[agent] = None
        self._adverts.was_sent_a_post(agent)
        if post.terms.mode == "claim":
            post.is_waking = True
            post.has_bid = False
            self._wake_at(post, now_ms)

    def _wake_at(self, post: _OpenPost, moment_ms: int) -> None:
        """Wake the next one unless there is a claim or a bid soon after ``moment_ms``."""
        self._timers.set(Timer("wake", post.record.id), moment_ms + limits.WAKE_MS)


def _has_room(post: _OpenPost) -> bool:
    match post.terms.mode:
        case "direct":
            return False
        case "claim":
            return post.is_open and not post.is_waking
        case "auction":
            has_few = len(post.offered) < post.terms.bidders_max
            return post.is_open and (has_few or not (post.is_waking or post.has_bid))
