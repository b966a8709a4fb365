"""Frames survive any way in which a stream is cut into pieces."""

import pytest
from hypothesis import given, strategies as st

from bazaar_protocol import limits
from bazaar_protocol.errors import TooLarge
from bazaar_protocol.framing import Splitter, pack


@given(st.lists(st.binary(max_size=200)), st.data())
def test_splitter_inverts_pack_however_the_stream_is_cut(
    bodies: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(map(pack, bodies))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    splitter, found = Splitter(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += splitter.feed(stream[start:end])
    assert found == bodies


def test_frame_is_its_length_and_its_body() -> None:
    assert pack(b"ab") == b"\0\0\0\2ab"


def test_largest_frame_passes() -> None:
    body = bytes(limits.FRAME_BYTES_MAX)
    assert Splitter().feed(pack(body)) == [body]


def test_frame_past_the_limit_is_refused_by_its_length_alone() -> None:
    with pytest.raises(TooLarge):
        pack(bytes(limits.FRAME_BYTES_MAX + 1))
    with pytest.raises(TooLarge):
        Splitter().feed((limits.FRAME_BYTES_MAX + 1).to_bytes(4))


def test_single_bytes_cost_no_look_at_the_whole() -> None:
    splitter = Splitter()
    frame = pack(bytes(limits.FRAME_BYTES_MAX))
    bodies = [body for byte in frame for body in splitter.feed(bytes([byte]))]  # 8 GB if copied
    assert list(map(len, bodies)) == [limits.FRAME_BYTES_MAX]
