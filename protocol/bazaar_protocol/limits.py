"""Every bound on what a stranger controls, in one place.

The table enforces itself where it is imported, and a relay's information document is made of it.
Names say the unit; a bound that has no number here does not exist.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
SECOND_MS: Final = 1000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

# Values inside signed bytes.
INTEGER_MAX: Final = 2**53 - 1
DEPTH_MAX: Final = 8

# Records.
PAYLOAD_BYTES_MAX: Final = 64 * KIB
LOGGED_PAYLOAD_BYTES_MAX: Final = 24 * KIB  # two fit into one equivocation proof
RECORD_BYTES_MAX: Final = PAYLOAD_BYTES_MAX + 128
KIND_CHARS_MAX: Final = 32
NAME_CHARS_MAX: Final = 128
TEXT_CHARS_MAX: Final = 8 * KIB
ADDRESS_CHARS_MAX: Final = 256
ADDRESSES_MAX: Final = 8
TAGS_MAX: Final = 16
CAPABILITIES_MAX: Final = 64
CRITERIA_MAX: Final = 32
SCHEMA_BYTES_MAX: Final = 16 * KIB
JSON_DEPTH_MAX: Final = 32
INPUT_INLINE_BYTES_MAX: Final = 16 * KIB
RESULT_BYTES_MAX: Final = 256 * MIB
BIDS_PER_POST_MAX: Final = 64
SEALED_BYTES_MAX: Final = 1 * KIB
RECORD_AGE_MS_MAX: Final = 30 * DAY_MS
RECORD_FUTURE_MS_MAX: Final = 120 * SECOND_MS
TASK_LIFETIME_MS_MAX: Final = 30 * DAY_MS
ADVERT_LIFETIME_MS_MAX: Final = DAY_MS
ATTEMPTS_MAX: Final = 100

# Frames and links.
FRAME_BYTES_MAX: Final = 128 * KIB
RECORDS_PER_FRAME_MAX: Final = 256
FILTERS_PER_SUBSCRIPTION_MAX: Final = 32
VALUES_PER_FILTER_MAX: Final = 64
PAGE_MAX: Final = 256
QUERY_CHARS_MAX: Final = 256
CHUNK_BYTES: Final = 60 * KIB
MAILED_BYTES_MAX: Final = 32 * KIB
LETTER_BYTES_MAX: Final = 40 * KIB
LETTERS_PER_AGENT_MAX: Final = 256
LETTER_LIFETIME_MS: Final = 7 * DAY_MS
LINK_SEND_QUEUE_BYTES_MAX: Final = MIB
LINK_RECEIVE_QUEUE_FRAMES_MAX: Final = 512
LINK_RECEIVE_QUEUE_BYTES_MAX: Final = MIB
LINK_CLOSE_TIMEOUT_S: Final = 1.0
LINK_WRITE_TIMEOUT_S: Final = 60.0
NEGOTIATION_BYTES_MAX: Final = 256 * KIB
NEGOTIATION_TIMEOUT_S: Final = 10.0
CONNECTION_IDLE_S_MAX: Final = 30.0
REUSE_TIMEOUT_S: Final = 2.0
CONNECTIONS_PENDING_MAX: Final = 64
CONNECTIONS_PER_ADDRESS_MAX: Final = 64
CONNECTIONS_MAX: Final = 4096
STREAMS_PER_CONNECTION_MAX: Final = 16
DIAL_TIMEOUT_S: Final = 8.0
REQUEST_TIMEOUT_S: Final = 10.0

# Key files: what one may ask of us before its passphrase is known to be right.
KEY_FILE_BYTES_MAX: Final = 8 * KIB
SCRYPT_N_MAX: Final = 2**20
SCRYPT_R_MAX: Final = 16
SCRYPT_P_MAX: Final = 4
