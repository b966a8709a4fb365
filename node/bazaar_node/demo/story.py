"""What happens in the demo. A line is told after it happened, from what a node or a process says.

The agents decide as they would anywhere; the story only posts, kills and starts, and stops with an
error when anything else comes of it than it says.
"""

import json
import signal
import time
from collections.abc import Sequence
from typing import Final

from bazaar_node import outcomes
from bazaar_node.demo import agents
from bazaar_node.demo.agents import BO, CY, DEE, MAL, POSTER, WORKERS
from bazaar_node.demo.cast import Cast, expect
from bazaar_node.demo.follower import Follower
from bazaar_node.demo.reckoning import Reckoning
from bazaar_node.demo.stage import Actor, Stage
from bazaar_node.demo.teller import Teller
from bazaar_node.service import PostRequest, TaskDetail
from bazaar_protocol import award
from bazaar_protocol.errors import TimedOut
from bazaar_protocol.identity import parse_agent
from bazaar_protocol.kinds import BidTerms, Rule
from bazaar_protocol.records import RecordId

LATE: Final = "late.json"
"""The right result of the task, which somebody was too late with."""

_EVENT_S: Final = 15.0
_HEARTBEATS: Final = 3
_POLL_S: Final = 0.05
_ID_CHARS: Final = 12
_AUDIT_CHARS: Final = 110


class Story:
    """One run of the demo."""

    def __init__(self, stage: Stage, teller: Teller) -> None:
        self._stage = stage
        self._tell = teller.tell
        self._add = teller.add
        self._cast = Cast()
        self._actors = self._cast.actors
        self._names = self._cast.names
        self._client = self._cast.client
        self._name = self._cast.name
        self._reckoning = Reckoning(stage, teller, self._cast)
        self._report = stage.folder / "report.csv"

    def play(self) -> None:
        """Tell it from the beginning to the end.

        Raises:
            BazaarError: Something else happened than what should.

        """
        self._open()
        self._occupy_dee()
        task = self._auction()
        follower = Follower(self._client(POSTER), task, "t1")
        self._award(follower)
        self._kill_the_worker(follower)
        self._lose_the_lease(follower)
        self._deliver_too_late(task)
        self._accept(follower)
        rejected = self._reject_mal()
        self._reckoning.play(rejected, self._stage.folder / LATE)
        self._audit(task)

    def _open(self) -> None:
        relay = self._stage.start("r0", "relay", "up", "--listen", "/ip4/127.0.0.1/tcp/0")
        self._cast.relay = self._stage.ready(relay)[0]
        self._tell("relay", "relay r0 READY on loopback", address=self._cast.relay)
        self._report.write_text(agents.REPORT, encoding="utf-8")
        names = (POSTER, *(worker.name for worker in WORKERS))
        for name in names:
            self._actors[name] = self._start(name)
        for name in names:
            agent = self._stage.ready(self._actors[name])[0]
            self._names[agent] = name
        for worker in WORKERS:
            self._client(worker.name).offer(worker.offer())
        self._wait_for_adverts()
        self._tell("nodes", f"nodes {' '.join(names)} READY", nodes=names)

    def _start(self, name: str) -> Actor:
        return self._stage.start(
            name, "up", "--name", name, "--relay", self._cast.relay, "--slots", "1"
        )

    def _wait_for_adverts(self) -> None:
        wanted = {worker.name for worker in WORKERS}
        until_s = time.monotonic() + _EVENT_S
        while time.monotonic() < until_s:
            found = self._client(POSTER).find(capability=agents.CAPABILITY)
            if wanted <= {self._names.get(one.agent) for one in found}:
                return
            time.sleep(_POLL_S)
        raise TimedOut(f"expected the relay to know what {', '.join(sorted(wanted))} offer")

    def _occupy_dee(self) -> None:
        dee = self._cast.agent(DEE.name)
        task = self._post(BO.name, agents.direct(dee, self._report, price=DEE.price))
        Follower(self._client(BO.name), task, "t0").until("accept", timeout_s=_EVENT_S)
        status = self._client(DEE.name).status()
        expect(status.load == status.slots, "dee to have no free slot")
        text = f"bo gives t0 to dee directly: {status.load} of {status.slots} slots taken"
        self._tell("occupied", text, task=task, load=status.load, slots=status.slots)

    def _auction(self) -> str:
        task = self._post(POSTER, agents.auction(self._report))
        window = agents.BID_WINDOW_MS / 1000
        self._tell(
            "post",
            f'ada posts t1 "{agents.TITLE}"  auction, window {window:g} s',
            task=task,
        )
        return task

    def _award(self, follower: Follower) -> None:
        event = follower.until("award", epoch=1, timeout_s=_EVENT_S)
        detail = follower.detail
        bids = "  ".join(self._bids(detail))
        declines = [one for one in detail.events if one.what == "decline"]
        declined = "  ".join(
            f"{self._name(one.agent)} DECLINES {_first_word(one.untrusted_note)}"
            for one in declines
        )
        expect(len(detail.bids) == len(WORKERS) - 1, f"three bids in time; there are: {bids}")
        expect(declined == "dee DECLINES busy", "dee to decline, since it is busy")
        self._tell("bids", f"bids: {bids}      {declined}", count=len(detail.bids))
        best = self._names[_best(detail)]
        winner = self._winner(follower)
        expect(winner == best == CY.name, f"the award to go to cy; the rule picks {best}")
        lease = agents.HEARTBEAT_TIMEOUT_MS / 1000
        self._tell(
            "award",
            f"award t1 → {winner}  epoch {event.epoch}  lease {lease:g} s"
            f"  (the rule, computed again here, picks {best} too)",
            worker=winner,
            epoch=event.epoch,
        )

    def _bids(self, detail: TaskDetail) -> Sequence[str]:
        known = sorted((self._name(bid.worker), bid) for bid in detail.bids)
        return [f"{name} {bid.price} (.{(bid.confidence or 0) // 100})" for name, bid in known]

    def _kill_the_worker(self, follower: Follower) -> None:
        notes = [
            follower.until("heartbeat", epoch=1, timeout_s=_EVENT_S).untrusted_note
            for _ in range(_HEARTBEATS)
        ]
        beats = "  ".join(f"♥ {_first_word(note)}" for note in notes)
        self._tell("heartbeats", f"cy works, and says so  {beats}", count=len(notes))
        cy = self._actors[CY.name]
        status = self._stage.kill(cy)
        expect(status == -signal.SIGKILL, f"cy to be killed by SIGKILL, not {status}")
        pid = cy.process.pid
        self._tell("kill", f"kill -9 cy  (process {pid} is gone)", "bad", pid=pid, status=status)

    def _lose_the_lease(self, follower: Follower) -> None:
        breach = follower.until("breach", epoch=1, timeout_s=_EVENT_S)
        beats = [event for event in follower.detail.events if event.what == "heartbeat"]
        silence_s = (breach.seen_ms - beats[-1].seen_ms) / 1000
        follower.until("award", epoch=2, timeout_s=_EVENT_S)
        winner = self._winner(follower)
        expect(winner == BO.name, f"the next best bid to win, that of bo; it is {winner}")
        self._tell(
            "lease_lost",
            f"lease lost after {silence_s:.1f} s of silence → award t1 → {winner}  epoch 2",
            "bad",
            silence_s=silence_s,
            worker=winner,
            epoch=2,
        )

    def _deliver_too_late(self, task: str) -> None:
        cy = self._actors[CY.name] = self._start(CY.name)
        self._stage.ready(cy)
        self._tell("restart", f"cy is back, with all it knew  (process {cy.process.pid})")
        result = self._stage.folder / LATE
        result.write_text(_right_result(), encoding="utf-8")
        outcome = self._stage.run(cy, "work", "deliver", task, "-i", f"@{result}")
        expect(
            outcome.returncode == outcomes.LEASE_LOST,
            f"cy's late result to be refused with exit status {outcomes.LEASE_LOST}, "
            f"not {outcome.returncode}: {outcome.stderr}",
        )
        said = outcome.stderr.partition("\n")[0].removeprefix("bazaar: ")
        self._tell(
            "refused",
            f"cy delivers for epoch 1 → REFUSED, exit status {outcome.returncode}: {said}",
            "bad",
            status=outcome.returncode,
            said=said,
        )

    def _accept(self, follower: Follower) -> None:
        deliver = follower.until("deliver", epoch=2, timeout_s=_EVENT_S)
        verdict = follower.until("verdict", epoch=2, timeout_s=_EVENT_S)
        task = follower.detail.task
        expect(task.state == "accepted", f"t1 to be accepted; it is {task.state}: {task.why}")
        signed = (self._name(deliver.agent), self._name(verdict.agent))
        expect(signed == (BO.name, POSTER), f"bo and ada to sign, not {signed}")
        self._tell(
            "accepted",
            f"bo delivers sha256:{task.result_sha256[:8]}…  {task.result_size} bytes  "
            f"schema ✓ check ✓ → accepted, both logs signed",
            "good",
            sha256=task.result_sha256,
            why=task.why,
            deliver=deliver.record,
            verdict=verdict.record,
        )
        self._add(f"ada's check: {task.why}", "quiet")

    def _reject_mal(self) -> str:
        mal = self._cast.agent(MAL.name)
        posted = self._post(POSTER, agents.direct(mal, self._report, price=MAL.price))
        self._tell("post", "ada posts t2, the same for mal alone, who is cheapest", task=posted)
        follower = Follower(self._client(POSTER), posted, "t2")
        verdict = follower.until("verdict", timeout_s=_EVENT_S)
        task = follower.detail.task
        expect(task.state == "rejected", f"t2 to be rejected; it is {task.state}")
        self._tell(
            "rejected",
            f"mal delivers sha256:{task.result_sha256[:8]}…  {task.result_size} bytes  "
            f"schema ✓ check ✗ → rejected: {task.why}",
            "bad",
            sha256=task.result_sha256,
            why=task.why,
            verdict=verdict.record,
        )
        return posted

    def _audit(self, task: str) -> None:
        outcome = self._stage.run(self._actors[POSTER], "audit", task, "--json")
        found = json.loads(outcome.stdout or "{}")
        expect(
            outcome.returncode == outcomes.OK and found.get("is_sound") is True,
            f"the audit of t1 to find nothing wrong: {outcome.stdout}{outcome.stderr}",
        )
        checks = [check["what"] for check in found["report"]["checks"]]
        self._tell("audit", f"bazaar audit {task[:_ID_CHARS]} → sound", "good", checks=checks)
        for check in checks:
            self._add(f"✓ {self._cast.named(check)[:_AUDIT_CHARS]}", "quiet")

    def _post(self, name: str, request: PostRequest) -> str:
        return self._client(name).post(request).id

    def _winner(self, follower: Follower) -> str:
        return self._name(follower.detail.task.worker)


def _best(detail: TaskDetail) -> str:
    """Compute the award again, from the bids that the poster has opened."""
    weights = agents.WEIGHTS
    rule = Rule(weights.price, weights.eta, weights.confidence, weights.standing)
    workers: dict[bytes, str] = {}
    offers: list[award.Offer] = []
    for bid in detail.bids:
        agent = parse_agent(bid.worker)
        workers[agent] = bid.worker
        terms = BidTerms(bid.price or 0, bid.eta_ms or 0, bid.confidence or 0, 0)
        offers.append(award.Offer(RecordId(bytes.fromhex(bid.id)), agent, terms, 0))
    best = award.choose(rule, agents.PRICE_MAX, offers)
    return "" if best is None else workers[best.worker]


def _right_result() -> str:
    columns, *rows = (line.split(",") for line in agents.REPORT.splitlines())
    return json.dumps({"columns": columns, "rows": rows})


def _first_word(text: str) -> str:
    return text.split(",")[0].split(" ")[0]
