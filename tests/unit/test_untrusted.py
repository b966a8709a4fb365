"""Text from strangers before people see it."""

import pytest
from hypothesis import given, strategies as st

from bazaar_protocol.untrusted import clean


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain text, naïve 日本語 🙂", "plain text, naïve 日本語 🙂"),
        ("\x1b[2Jgone\x07", "[2Jgone"),
        ("\x9b31mred", "31mred"),
        ("two\nlines\tand\u2028more", "two lines and more"),
        ("safe\u202egpj.exe", "safegpj.exe"),
        ("\u2066isolated\u2069 \u200fmark", "isolated mark"),
        ("b\u200bob\ufeff\u200d\u2060", "bob"),
        ("lone \ud800 surrogate", "lone  surrogate"),
        ("tag\U000e0041", "tag"),
    ],
)
def test_what_could_deceive_is_taken_out(raw: str, shown: str) -> None:
    assert clean(raw, 100) == shown


def test_what_is_too_long_is_cut_visibly() -> None:
    assert clean("12345", 5) == "12345"
    assert clean("123456", 5) == "1234…"


@given(st.text(st.characters()), st.integers(1, 50))
def test_the_result_is_printable_short_and_stable(raw: str, chars_max: int) -> None:
    shown = clean(raw, chars_max)
    assert shown.isprintable()
    assert len(shown) <= chars_max
    assert clean(shown, chars_max) == shown
