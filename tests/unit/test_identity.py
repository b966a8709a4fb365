"""Identities: one key, three spellings, and signatures that mean one thing."""

import contextlib

import pytest
from hypothesis import given, strategies as st
from tests.strategies import ADA, BO

from bazaar_protocol.errors import BadSignature, BazaarError, ConfigError
from bazaar_protocol.identity import AgentId, Keypair, parse_agent, to_did, to_peer_id, verify

KEY = AgentId(bytes.fromhex("1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"))
DID = "did:key:z6MkgXZvRh65tcAdLJTKdEvyqEv7ZBhn9C5BM68jw4cESKtH"
PEER_ID = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"

# Points of small order and encodings that are not canonical (the list of libsodium).
SMALL_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0100000000000000000000000000000000000000000000000000000000000080",
]


def test_one_key_has_three_spellings() -> None:
    assert to_did(KEY) == DID
    assert to_peer_id(KEY) == PEER_ID
    assert {parse_agent(text) for text in (DID, PEER_ID, KEY.hex(), KEY.hex().upper())} == {KEY}


@given(st.binary(min_size=32, max_size=32).map(AgentId))
def test_every_spelling_reads_back(agent: AgentId) -> None:
    assert [parse_agent(text) for text in (to_did(agent), to_peer_id(agent))] == [agent, agent]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bo",
        "did:key:",
        "did:key:z",
        DID[:-1],
        DID + "1",
        DID + " ",
        " " + DID,
        DID.replace("did:key:z", "did:key:u"),
        DID.replace("M", "0"),
        PEER_ID + "\n",
        "1" + PEER_ID,
        "Qm" + PEER_ID,
        KEY.hex()[:-2],
        KEY.hex()[:-4] + "    ",
        " ".join(["ab"] * 21) + "ab",
        "did:key:z" + "z" * 100_000,
        "\u0661" * 64,
        "é" * 52,
        "\ud800",
    ],
)
def test_junk_names_nobody(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_agent(text)


@given(st.text(max_size=80))
def test_no_text_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(BazaarError):
        assert len(parse_agent(text)) == 32


def test_a_signature_serves_one_purpose_one_message_and_one_author() -> None:
    signature = ADA.sign(b"bazaar/a/1\x00", b"hello")
    verify(ADA.agent, b"bazaar/a/1\x00", b"hello", signature)
    for author, domain, message, tampered in [
        (BO.agent, b"bazaar/a/1\x00", b"hello", signature),
        (ADA.agent, b"bazaar/b/1\x00", b"hello", signature),
        (ADA.agent, b"bazaar/a/1\x00", b"hellO", signature),
        (ADA.agent, b"bazaar/a/1\x00", b"ello", signature + b"h"),
        (ADA.agent, b"bazaar/a/1\x00", b"hello", signature[:-1]),
        (ADA.agent, b"bazaar/a/1\x00", b"hello", b""),
        (ADA.agent[:31], b"bazaar/a/1\x00", b"hello", signature),
        (ADA.agent + b"\x00", b"bazaar/a/1\x00", b"hello", signature),
        (b"", b"bazaar/a/1\x00", b"hello", signature),
    ]:
        with pytest.raises(BadSignature):
            verify(author, domain, message, tampered)


def test_no_part_of_a_message_counts_as_signature() -> None:
    """Else whoever signed ``a D b`` for the purpose D would have signed ``b`` as well."""
    domain = b"bazaar/a/1\x00"
    signature = ADA.sign(domain, b"a" + domain + b"b")
    with pytest.raises(BadSignature):
        verify(ADA.agent, domain, b"b", signature + domain + b"a")


@pytest.mark.parametrize("key", SMALL_ORDER)
def test_keys_of_small_order_sign_nothing(key: str) -> None:
    """With such a key the signature (R, 0) where R is the key can verify any message."""
    for r in SMALL_ORDER:
        with pytest.raises(BadSignature):
            verify(bytes.fromhex(key), b"bazaar/a/1\x00", b"m", bytes.fromhex(r) + bytes(32))


def test_a_signature_has_one_encoding() -> None:
    """S + L would verify too where it is not refused (RFC 8032, 5.1.7)."""
    order = 2**252 + 27742317777372353535851937790883648493
    signature = ADA.sign(b"", b"m")
    s = int.from_bytes(signature[32:], "little") + order
    with pytest.raises(BadSignature):
        verify(ADA.agent, b"", b"m", signature[:32] + s.to_bytes(32, "little"))


def test_a_key_does_not_print_its_secret() -> None:
    keys = Keypair(bytes(range(32)))
    assert keys.seed.hex() not in repr(keys)
    assert to_did(keys.agent) in repr(keys)
