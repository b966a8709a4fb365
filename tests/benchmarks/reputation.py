"""Evidence and scores: what a receipt costs, a score, ego's walk, and what all of it weighs.

The network is synthetic: each agent rates a few others, whose popularity follows a power law. It
is made of findings without records, except where the cost of records is measured.
"""

import gc
import random
from collections.abc import Iterator
from hashlib import sha256
from typing import Final

import psutil
from tests.benchmarks import signing
from tests.benchmarks.measuring import (
    Bench,
    Beside,
    Case,
    Row,
    Sample,
    Stopwatch,
    at_least,
    at_most,
    interleave,
    row,
)
from tests.reputation_records import Party, deal

from bazaar_protocol.identity import AgentId
from bazaar_protocol.log import check_segment
from bazaar_protocol.records import RecordId
from bazaar_reputation.book import Book
from bazaar_reputation.contracts import attach, begin, findings
from bazaar_reputation.findings import Finding, StrandKey
from bazaar_reputation.scores import Scorer
from bazaar_reputation.strands import Tally, fold

Segments = list[tuple[list[bytes], list[bytes]]]
EGO: Final = 0
_RATED_EACH: Final = 3
_KNOWN_TO_EGO: Final = 12


async def run(bench: Bench) -> list[Row]:
    """Measure memory first, while the process is small."""
    rows = [_memory(bench, each) for each in (10, 1)]
    rows += await _receipts(bench)
    for size in (10_000, 100_000, 1_000_000) if not bench.is_quick else (100, 1_000):
        rows += _walk_and_scores(bench, size)
    return rows + await _growth(bench)


class Network:
    """Agents that have rated each other, in a book; ego knows a dozen of the popular ones."""

    def __init__(self, agents: int, strands: int) -> None:
        self.agents = agents
        self.book = Book()
        self.tallies: dict[StrandKey, Tally] = {}
        self._random = random.Random(1)
        self._findings = 0
        for _ in range(strands):
            key = self.key(self._random.randrange(agents))
            self.book.put(key, fold([self.finding(key)]))
        for subject in range(1, _KNOWN_TO_EGO + 1):
            key = self.key(EGO, subject)
            self.book.put(key, fold([self.finding(key)]))

    def key(self, rater: int, subject: int | None = None) -> StrandKey:
        """Return the strand of what ``rater`` says of ``subject``, or of whom chance picks."""
        chosen = self.popular() if subject is None else subject
        return StrandKey("worker", _agent(chosen), _agent(rater), "pdf.extract", 1, b"")

    def popular(self) -> int:
        """Return an agent, one of small number more likely: its rank to the power of -1."""
        return int(self.agents ** self._random.random()) - 1

    def finding(self, key: StrandKey) -> Finding:
        """Return what one more job said: one agent in ten always does bad work."""
        self._findings += 1
        record = RecordId(self._findings.to_bytes(32, "big"))
        is_good = key.subject[0] > 25
        return Finding(record, key, is_good, 1000, 0, record, "accepted")

    def add(self, finding: Finding) -> None:
        """Take in a finding that is newer than all others of its strand."""
        tally = (self.tallies.get(finding.strand) or Tally.empty()).add(finding)
        assert tally is not None
        self.tallies[finding.strand] = tally
        self.book.put(finding.strand, tally)


def _memory(bench: Bench, each: int) -> Row:
    receipts = bench.count(1_000_000, 10_000)
    gc.collect()
    before = psutil.Process().memory_info().rss
    network = Network(agents=receipts // (10 * each), strands=receipts // each)
    gc.collect()
    used = psutil.Process().memory_info().rss - before
    ratings = network.book.ratings["worker"]
    strands = sum(len(ratings.subjects(number)) for number in range(len(network.book.ids)))
    return row(
        f"memory: a book of {receipts:,} receipts, {each} in each strand", "MB",
        [Sample(used / 2**20)], note=f"{strands:,} strands, {used / strands:.0f} bytes each",
    )  # fmt: skip


async def _receipts(bench: Bench) -> list[Row]:
    count = bench.count(2_000, 30)
    segments = _segments(count)

    async def ingest() -> Sample:
        network = Network(10, 0)
        with Stopwatch() as watch:
            _take_in(segments, network)
        return Sample.rate(count, watch.wall_s, watch.cpu_s)

    async def check() -> Sample:
        with Stopwatch() as watch:
            for logs in segments:
                for raws in logs:
                    check_segment(raws)
        return Sample.rate(count, watch.wall_s, watch.cpu_s)

    cases = {"ingest": ingest, "check": check, "sodium": signing.signatures(0, 2, count)}
    taken = await interleave(bench.rounds, cases)
    name = "receipt: from records to the book"
    return [
        row(name, "receipts/s", taken["ingest"], goal=at_least(1 / 1.3),
            beside=Beside("parsed, its two segments checked", taken["check"]),
            note="award, accept, deliver and verdict, two records to a segment"),
        row(f"{name}, beside bare signatures", "receipts/s", taken["ingest"],
            beside=Beside("two signature checks by the library", taken["sodium"])),
    ]  # fmt: skip


def _segments(count: int) -> Segments:
    """Return for each contract the poster's award and verdict, and the worker's answers."""
    poster, worker = Party("poster"), Party("worker")
    signed = [deal(poster, worker, "accepted") for _ in range(count)]
    return [
        ([granted.raw, verdict.raw], [accepted.raw, delivered.raw])
        for _, granted, accepted, delivered, verdict in signed
    ]


def _take_in(segments: Segments, network: Network) -> None:
    heads: dict[AgentId, int] = {}
    for poster, worker in segments:
        granted, *answers = (*check_segment(poster), *check_segment(worker))
        contract = begin(granted)
        for record in answers:
            contract = attach(contract, record)
        for last in (answers[0], answers[-1]):
            heads[last.author] = last.seq
            network.book.head(last.author, last.seq)
        for finding in findings(contract, lambda agent: heads.get(agent, 0)):
            network.add(finding)


def _walk_and_scores(bench: Bench, size: int) -> list[Row]:
    network = Network(size, _RATED_EACH * size)
    with Stopwatch() as first:
        scorer = Scorer(network.book, _agent(EGO))
        scorer.weight(_agent(EGO))
    walks, scores = [], []
    for _ in range(bench.rounds):
        with Stopwatch() as watch:
            scorer._weigh()
        walks.append(Sample(watch.wall_s * 1e3))
        subjects = list(dict.fromkeys(_agent(network.popular()) for _ in range(1_000)))
        network.book.head(_agent(size), network.book.revision)  # all scores are old now
        scorer.weight(_agent(EGO))
        with Stopwatch() as watch:
            for subject in subjects:
                scorer.score(subject)
        scores.append(Sample(watch.wall_s / len(subjects) * 1e6))
    heard = sum(weight > 0 for weight in scorer._weights.values())
    return [
        row(f"walk: ego's, {size:,} identities", "ms", walks, goal=at_most(10, "figure"),
            note=f"edges known; {first.wall_s * 1e3:.0f} ms from nothing; {heard} weigh something"),
        row(f"score: of one subject, {size:,} identities", "us", scores,
            goal=at_most(50, "figure"), note="weights known, each subject for the first time"),
    ]  # fmt: skip


async def _growth(bench: Bench) -> list[Row]:
    sizes = {"few": bench.count(1_000, 100), "many": bench.count(1_000_000, 1_000)}
    networks = {name: Network(max(size // 10, 10), size) for name, size in sizes.items()}
    segments = _segments(bench.count(1_000, 30))

    def receive(name: str) -> Case:
        async def case() -> Sample:
            networks[name].tallies.clear()
            with Stopwatch() as watch:
                _take_in(segments, networks[name])
            return Sample(watch.wall_s / len(segments) * 1e6)

        return case

    taken = await interleave(bench.rounds, {name: receive(name) for name in networks})
    few = f"{sizes['few']:,} known"
    return [
        row(f"receipt: with {sizes['many']:,} outcomes known", "us", taken["many"],
            beside=Beside(few, taken["few"]), goal=at_most(1.2)),
        *await _updates(bench),
    ]  # fmt: skip


async def _updates(bench: Bench) -> list[Row]:
    """Take in one more finding and score its subject, beside doing so with all from the start."""
    size = bench.count(100_000, 500)
    network = Network(size // 10, 0)
    told = [network.finding(network.key(number % network.agents)) for number in range(size)]
    for finding in told:
        network.add(finding)
    scorer = Scorer(network.book, _agent(EGO))
    news = iter(_more(network))

    async def update() -> Sample:
        count = bench.count(200, 5)
        with Stopwatch() as watch:
            for _ in range(count):
                finding = next(news)
                network.add(finding)
                scorer.score(finding.strand.subject)
        return Sample.rate(count, watch.wall_s, watch.cpu_s)

    async def rebuild() -> Sample:
        again = Network(network.agents, 0)
        with Stopwatch() as watch:
            for finding in told:
                again.add(finding)
            Scorer(again.book, _agent(EGO)).score(told[0].strand.subject)
        return Sample.rate(1, watch.wall_s, watch.cpu_s)

    taken = await interleave(bench.rounds, {"update": update, "rebuild": rebuild})
    return [
        row(f"update: one of {size:,} findings and its subject's score", "per s", taken["update"],
            beside=Beside("all from the start", taken["rebuild"]), goal=at_least(50)),
    ]  # fmt: skip


def _more(network: Network) -> Iterator[Finding]:
    while True:
        yield network.finding(network.key(network.popular()))


def _agent(number: int) -> AgentId:
    return AgentId(sha256(number.to_bytes(8, "big")).digest())
