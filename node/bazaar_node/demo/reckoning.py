"""How the demo ends: what a cheat tries, how all learn of it, and what each is worth then."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from bazaar_node import outcomes
from bazaar_node.commands.reputation import score_line
from bazaar_node.demo.agents import BO, CAPABILITY, CY, DEE, MAL, POSTER
from bazaar_node.demo.cast import Cast, expect
from bazaar_node.demo.follower import Follower
from bazaar_node.demo.stage import Stage
from bazaar_node.demo.teller import Teller
from bazaar_node.service import PostRequest
from bazaar_node.trust_service import ReputationView, WhyView
from bazaar_protocol.errors import TimedOut

_T = TypeVar("_T")

_EVENT_S: Final = 20.0
_POLL_S: Final = 0.1
_ID_CHARS: Final = 12
_OTHERS: Final = (POSTER, BO.name, CY.name, DEE.name)


class Reckoning:
    """What comes of mal, and of bo."""

    def __init__(self, stage: Stage, teller: Teller, cast: Cast) -> None:
        self._stage = stage
        self._tell = teller.tell
        self._add = teller.add
        self._cast = cast

    def play(self, rejected: str, result: Path) -> None:
        """Tell it.

        Args:
            rejected: The task of mal's that was rejected.
            result: The file with what mal wishes it had delivered.

        Raises:
            BazaarError: Something else happened than what should.

        """
        self._cheat(rejected, result)
        self._refuse(self._shun())
        self._weigh()

    def _cheat(self, rejected: str, result: Path) -> None:
        mal = self._cast.actors[MAL.name]
        outcome = self._stage.cheat(mal, self._cast.relay, rejected, str(result))
        expect(outcome.returncode == 0, f"mal to try its frauds: {outcome.stderr}")
        done = json.loads(outcome.stdout)
        forged, forked, seq = done["forged"], done["forked"], done["seq"]
        expect(forged.startswith("signature:"), f"a forged verdict to be refused, not {forged}")
        said = self._cast.named(_shown(forged))
        self._tell(
            "forged",
            f'mal turns ada\'s verdict into "accepted" → REFUSED by r0: {said}',
            "bad",
            status=forged,
        )
        expect(forked.startswith("fork:"), f"a second entry {seq} to be a fork, not {forked}")
        self._tell(
            "forked",
            f"mal signs another result as entry {seq} of its log → r0 has both: a proof for ever",
            "bad",
            status=forked,
            seq=seq,
        )

    def _shun(self) -> str:
        proofs = {self._convicted(name) for name in _OTHERS}
        expect(len(proofs) == 1, "all to hold the same proof")
        (proof,) = proofs
        shown = f"shunned by {' '.join(_OTHERS)}: each holds proof {proof[:_ID_CHARS]} against mal"
        self._tell("shunned", shown, "good", proof=proof, nodes=_OTHERS)
        return proof

    def _convicted(self, name: str) -> str:
        client, mal = self._cast.client(name), self._cast.agent(MAL.name)
        view = _until(
            lambda: client.reputation(mal),
            lambda view: view.conviction is not None,
            f"{name} to hear of the proof against mal",
        )
        assert view.conviction is not None
        return view.conviction.proof

    def _refuse(self, proof: str) -> None:
        mal = self._cast.client(MAL.name)
        task = mal.post(PostRequest(capability=CAPABILITY, title="anybody?", input=b"a,b"))
        refused = Follower(mal, task.id, "t3").until("refused", timeout_s=_EVENT_S)
        said = refused.untrusted_note
        expect(proof in said, f"the proof to be why t3 is refused, not: {said}")
        shown = f"mal posts t3 → REFUSED by r0: {_shown(said).replace(proof, proof[:_ID_CHARS])}"
        self._tell("refused", shown, "bad", task=task.id, said=said)

    def _weigh(self) -> None:
        view = self._ask("reputation", MAL.name, ReputationView)
        expect(view.is_convicted, "ada to know that mal is convicted")
        self._tell("reputation", f"bazaar reputation mal → {score_line(view)}", "bad", lower=0.0)
        ada, bo = self._cast.client(POSTER), self._cast.agent(BO.name)
        _until(lambda: ada.why(bo), lambda why: why.receipts, "ada to see what bo has done for her")
        why = self._ask("why", BO.name, WhyView)
        score = why.reputation
        self._tell(
            "why",
            f"bazaar why bo → {score_line(score)}",
            "good",
            lower=score.lower,
            mean=score.mean,
        )
        for one in why.receipts:
            sign = "+" if one.is_good else "-"
            rater = self._cast.name(one.rater)
            self._add(
                f"contract {one.contract[:_ID_CHARS]}  {one.why}  {sign}{one.adds:.2f}"
                f"  says {rater}, who counts {one.rater_weight:.2f}"
                f"  entry {one.seq} of {self._cast.name(one.author)}",
                "quiet",
            )

    def _ask(self, command: str, name: str, kind: type[_T]) -> _T:
        """Run a command about somebody at ada's, as she would."""
        ada, agent = self._cast.actors[POSTER], self._cast.agent(name)
        outcome = self._stage.run(ada, command, agent, "--json")
        expect(outcome.returncode == outcomes.OK, f"bazaar {command} to answer: {outcome.stderr}")
        return msgspec.json.decode(outcome.stdout, type=kind)


def _until(look: Callable[[], _T], is_so: Callable[[_T], object], what: str) -> _T:
    """Look until it is so: evidence follows the trades at a distance, and no event tells of it."""
    until_s = time.monotonic() + _EVENT_S
    while time.monotonic() < until_s:
        seen = look()
        if is_so(seen):
            return seen
        time.sleep(_POLL_S)
    raise TimedOut(f"expected {what}")


def _shown(status: str) -> str:
    """Return a relay's reason without the codes in front of it."""
    return status.rpartition(": ")[2]
