"""The same evidence gives the same digits, in whatever order it came and whenever one asked."""

from dataclasses import replace
from typing import Any, TypeAlias

from hypothesis import given, strategies as st
from tests.scoring import NEWEST, Rating, agent, finding

from bazaar_protocol.identity import AgentId
from bazaar_reputation.book import Book
from bazaar_reputation.scores import Scorer

EGO = 0
SEED = 1
AGENTS = range(8)
Deed: TypeAlias = tuple[Any, ...]

numbers = st.sampled_from(AGENTS)
seqs = st.integers(1, 2 * NEWEST)
amounts = st.floats(0, 60, allow_subnormal=False)
strands = st.builds(
    Rating, rater=st.one_of(numbers, numbers, numbers, st.none()), subject=numbers,
    capability=st.sampled_from(("a", "b")), fingerprint=st.sampled_from((b"", b"f")),
    role=st.sampled_from(("worker", "worker", "poster")),
)  # fmt: skip
values = st.one_of(st.none(), st.tuples(amounts, amounts, st.integers(0, NEWEST)))


@st.composite
def stories(draw: st.DrawFn) -> list[list[Deed]]:
    """Draw what a node comes to know: stories whose parts follow each other, in no common order."""
    told: list[list[Deed]] = []
    for strand, versions in draw(
        st.dictionaries(strands, st.lists(values, min_size=1, max_size=3), max_size=30)
    ).items():
        told.append([_strand(strand, version) for version in versions])
    for voucher, said in draw(st.dictionaries(numbers, st.dictionaries(
        seqs, st.tuples(numbers, st.booleans()), max_size=5), max_size=3)).items():  # fmt: skip
        told += [[("vouch", voucher, seq, other, gone)] for seq, (other, gone) in said.items()]
    told += [[("head", *one)] for one in draw(st.lists(st.tuples(numbers, seqs), max_size=12))]
    told += [[("convict", *one)] for one in draw(st.lists(st.tuples(numbers, seqs), max_size=2))]
    told += [[("stamp", one)] for one in draw(st.lists(numbers, max_size=2))]
    heirs = st.one_of(st.none(), numbers)
    told += [
        [("succeed", *one)]
        for one in draw(st.lists(st.tuples(numbers, heirs, seqs), max_size=4))
        if one[0] != one[1]
    ]
    told += [[("meet", *one)] for one in draw(st.lists(st.tuples(numbers, seqs), max_size=6))]
    return told


@given(stories(), st.data())
def test_the_order_of_arrival_changes_no_digit(told: list[list[Deed]], data: st.DataObject) -> None:
    expected = _digits(told, [], [])
    turns = [number for number, story in enumerate(told) for _ in story]
    order = data.draw(st.permutations(turns))
    questions = data.draw(st.lists(st.integers(0, len(turns)), max_size=5))
    assert _digits(told, order, questions) == expected


def _digits(told: list[list[Deed]], order: list[int], questions: list[int]) -> list[str]:
    """Return all scores after the stories were told in turns, asking in between."""
    rest = [list(story) for story in told]
    deeds = [rest[number].pop(0) for number in order] or [deed for story in told for deed in story]
    book = Book()
    scorer = Scorer(book, agent(EGO), [agent(SEED)])
    for number, deed in enumerate(deeds):
        _tell(book, deed)
        if number in questions:
            _answers(scorer)
    assert _answers(Scorer(book, agent(EGO), [agent(SEED)])) == _answers(scorer), "a stale answer"
    return _answers(scorer)


def _answers(scorer: Scorer) -> list[str]:
    answers = [repr(scorer.top(4)), repr(scorer.top(2, "a"))]
    for one in AGENTS:
        answers.append(repr(scorer.weight(agent(one))))
        answers.append(repr(scorer.parts(agent(one))))
        answers.append(repr(scorer.score(agent(one))))
        answers.append(repr(scorer.score(agent(one), "poster")))
        answers.append(repr(scorer.score(agent(one), capability="a", fingerprint=b"f")))
    return answers


def _strand(strand: Rating, value: tuple[float, float, int] | None) -> Deed:
    if value is None:
        return ("drop", strand)
    good, bad, age = value
    return ("put", replace(strand, good=good, bad=bad, age=age))


def _tell(book: Book, deed: Deed) -> None:
    match deed:
        case "put", rating:
            book.put(rating.key, rating.tally)
        case "drop", rating:
            book.drop(rating.key)
        case "head", one, seq:
            book.head(agent(one), seq)
        case "vouch", voucher, seq, other, gone:
            book.vouch(agent(voucher), seq, agent(other), is_withdrawn=gone)
        case "convict", one, seq:
            book.convict(agent(one), seq)
        case "stamp", one:
            book.stamp(agent(one))
        case "succeed", old, heir, seq:
            book.succeed(agent(old), _name(heir), seq)
        case "meet", one, number:
            key = Rating(EGO, one).key
            book.meet(finding(key, at=number, number=one, is_good=number % 3 > 0))
        case _:
            raise AssertionError(deed)


def _name(number: int | None) -> AgentId | None:
    return None if number is None else agent(number)
