"""What a relay says about itself: the information document, in the names of Nostr's NIP-11."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import msgspec

from bazaar_protocol import frames, limits
from bazaar_protocol.identity import AgentId, to_did
from bazaar_relay.machine.admission import Policy
from bazaar_relay.machine.relayed_links import FEATURE

MEDIA_TYPE: Final = "application/bazaar+json"
_FEATURES: Final = (
    "claim", "compare", "inclusion", "log", "mail", "query", "state", "subscribe", "task",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class About:
    """What the operator says about the relay."""

    name: str = ""
    description: str = ""
    contact: str = ""


def software() -> str:
    """Return the name and the version of this program."""
    try:
        return f"bazaar/{version('bazaar')}"
    except PackageNotFoundError:  # run from its sources
        return "bazaar/0"


def features(policy: Policy) -> tuple[str, ...]:
    """Return what the relay can do for nodes."""
    return (*_FEATURES, FEATURE) if policy.carrying.links else _FEATURES


def document(
    relay: AgentId,
    about: About,
    policy: Policy,
    addresses: Sequence[str],
    *,
    work_bits: int | None = None,
) -> bytes:
    """Return the information document as JSON.

    ``work_bits`` is what strangers are asked for now, if that is known.
    """
    name, _, number = software().partition("/")
    days_of = policy.retention.days_of
    content = {
        "name": about.name,
        "description": about.description,
        "pubkey": to_did(relay),
        "contact": about.contact,
        "software": name,
        "version": number,
        "protocol_version": frames.VERSION,
        "supported_features": features(policy),
        "limitation": _limitation(policy, policy.work.bits if work_bits is None else work_bits),
        "retention": {
            "logged_ms": None,
            "advert_ms_max": limits.ADVERT_LIFETIME_MS_MAX,
            "heartbeat_ms": limits.HEARTBEAT_RETENTION_MS,
            "letter_ms": limits.LETTER_LIFETIME_MS,
            "receipt_ms": limits.RECORD_RETENTION_MS,
            "other_ms": policy.retention.days * limits.DAY_MS,
            **{f"{kind}_ms": days * limits.DAY_MS for kind, days in days_of.items()},
        },
        "addresses": tuple(addresses),
    }
    return msgspec.json.encode(content)


def _limitation(policy: Policy, work_bits: int) -> dict[str, int | bool]:
    return {
        "frame_bytes": limits.FRAME_BYTES_MAX,
        "record_bytes": limits.RECORD_BYTES_MAX,
        "records_per_frame": limits.RECORDS_PER_FRAME_MAX,
        "records_per_s": policy.records_per_s,
        "bytes_per_s": policy.bytes_per_s,
        "bytes_per_day": policy.bytes_per_day,
        "address_records_per_s": policy.address_records_per_s,
        "address_bytes_per_s": policy.address_bytes_per_s,
        "newcomer_percent": policy.newcomer_percent,
        "grown_entries": policy.grown_entries,
        "restricted_writes": policy.only_allowed,
        "links_per_agent": policy.links,
        "subscriptions_per_agent": policy.subscriptions,
        "writes_per_link": limits.WRITES_PER_LINK_MAX,
        "filters_per_subscription": limits.FILTERS_PER_SUBSCRIPTION_MAX,
        "values_per_filter": limits.VALUES_PER_FILTER_MAX,
        "page": limits.PAGE_MAX,
        "letter_bytes": limits.LETTER_BYTES_MAX,
        "letters_per_agent": limits.LETTERS_PER_AGENT_MAX,
        "letters_per_sender": limits.LETTERS_PER_SENDER_MAX,
        "letters_per_stranger": limits.LETTERS_PER_STRANGER_MAX,
        "relayed_links_per_agent": policy.carrying.links,
        "relayed_bytes_per_s": policy.carrying.bytes_per_s,
        "relayed_bytes_per_day": policy.carrying.bytes_per_day,
        "relayed_link_minutes": policy.carrying.minutes,
        "open_posts_per_agent": policy.open_posts,
        "bids_per_post": limits.BIDS_PER_POST_MAX,
        "records_per_receipt": limits.INTAKE_RECORDS_MAX,
        "receipt_after_ms": limits.INTAKE_AFTER_MS,
        "record_age_ms": limits.RECORD_AGE_MS_MAX,
        "record_future_ms": limits.RECORD_FUTURE_MS_MAX,
        "min_pow_difficulty": work_bits,
        "pow_days": policy.work.days,
    }
