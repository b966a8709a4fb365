"""However its bytes are cut, a noise session gives what was sealed; tampered with, only less."""

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from bazaar_host.noise_messages import PLAINTEXT_BYTES_MAX, Opener, Sealer
from bazaar_host.yamux.breaches import Breach
from bazaar_protocol.errors import BrokenSession

KEY, OTHER_KEY = bytes(32), bytes(31) + b"\1"
NOISE = random.Random(1).randbytes(PLAINTEXT_BYTES_MAX)

sizes = st.lists(st.sampled_from([0, 1, 16, 300, PLAINTEXT_BYTES_MAX]), min_size=1, max_size=6)
places = st.lists(st.integers(0, 2**20), max_size=10)


def sealed(sizes: Sequence[int]) -> list[bytes]:
    sealer = Sealer(KEY)
    return [sealer.seal(NOISE[:size]) for size in sizes]


def opened(raw: bytes, places: Sequence[int] = ()) -> tuple[bytes, bool]:
    """Return the plaintext, and whether all was well."""
    opener = Opener(KEY)
    plaintext = b""
    bounds = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    try:
        for start, end in pairwise(bounds):
            plaintext += opener.feed(raw[start:end])
    except BrokenSession as error:
        breach = error.breach
    else:
        return plaintext, True
    assert breach == Breach.FORGED
    return plaintext, False


@given(sizes, places)
def test_what_was_sealed_is_opened(sizes: list[int], places: list[int]) -> None:
    plaintext = b"".join(NOISE[:size] for size in sizes)
    assert opened(b"".join(sealed(sizes)), places) == (plaintext, True)


@given(sizes, places, st.data())
def test_no_flipped_bit_goes_unnoticed(
    sizes: list[int], places: list[int], data: st.DataObject
) -> None:
    messages = sealed(sizes)
    raw = bytearray(b"".join(messages))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    found, is_well = opened(bytes(raw), places)
    plaintexts = [NOISE[:size] for size in sizes]
    hit = next(n for n in range(len(messages)) if len(b"".join(messages[: n + 1])) > bit // 8)
    # Nothing from the message that was hit; a longer length is waited for instead of an error.
    assert b"".join(plaintexts[:hit]).startswith(found)
    assert not is_well or bit // 8 - len(b"".join(messages[:hit])) < 2


@given(sizes, st.data())
def test_messages_that_are_repeated_lost_or_moved_are_refused(
    sizes: list[int], data: st.DataObject
) -> None:
    messages = sealed([*sizes, 16])
    number = data.draw(st.integers(0, len(messages) - 2))
    match data.draw(st.sampled_from(["repeated", "lost", "moved"])):
        case "repeated":
            messages.insert(number, messages[number])
            good = number + 1
        case "lost":
            del messages[number]
            good = number
        case _:
            messages[number : number + 2] = [messages[number + 1], messages[number]]
            good = number
    found, is_well = opened(b"".join(messages))
    assert not is_well
    assert b"".join(NOISE[:size] for size in sizes[:good]).startswith(found)


@given(sizes, st.data())
def test_truncation_gives_whole_messages_only(sizes: list[int], data: st.DataObject) -> None:
    messages = sealed(sizes)
    raw = b"".join(messages)
    end = data.draw(st.integers(0, len(raw)))
    count = sum(len(b"".join(messages[: n + 1])) <= end for n in range(len(messages)))
    assert opened(raw[:end]) == (b"".join(NOISE[:size] for size in sizes[:count]), True)


@given(st.binary(max_size=300))
def test_bytes_of_somebody_else_are_refused(raw: bytes) -> None:
    found, _ = opened(raw)
    assert found == b""
    assert opened(Sealer(OTHER_KEY).seal(raw)) == (b"", False)


@pytest.mark.parametrize("size", range(16))
def test_messages_without_room_for_a_tag_are_refused(size: int) -> None:
    assert opened(size.to_bytes(2) + bytes(size)) == (b"", False)
