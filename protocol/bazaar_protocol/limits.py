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
INCLUSION_PATH_MAX: Final = 32  # of a Merkle tree with 2**32 leaves

# Frames and links.
FRAME_BYTES_MAX: Final = 128 * KIB
RECORDS_PER_FRAME_MAX: Final = 256
FILTERS_PER_SUBSCRIPTION_MAX: Final = 32
VALUES_PER_FILTER_MAX: Final = 64
PAGE_MAX: Final = 256
QUERY_CHARS_MAX: Final = 256
CHUNK_BYTES: Final = 60 * KIB
MAILED_BYTES_MAX: Final = 32 * KIB
LETTER_BYTES_MAX: Final = 40 * KIB  # sealed, as it travels
LETTER_CONTENT_BYTES_MAX: Final = LETTER_BYTES_MAX - 256
LETTERS_PER_AGENT_MAX: Final = 256
LETTERS_PER_SENDER_MAX: Final = 64  # of somebody with whom the addressee trades
LETTERS_PER_STRANGER_MAX: Final = 32
LETTERS_OF_STRANGERS_MAX: Final = 128
LETTER_LIFETIME_MS: Final = 7 * DAY_MS
LINK_SEND_QUEUE_BYTES_MAX: Final = MIB
LINK_RECEIVE_QUEUE_FRAMES_MAX: Final = 512
LINK_RECEIVE_QUEUE_BYTES_MAX: Final = MIB
LINK_CLOSE_TIMEOUT_S: Final = 1.0
LINK_WRITE_TIMEOUT_S: Final = 60.0
YAMUX_WINDOW_BYTES: Final = 256 * KIB  # of a stream, at first and at most
YAMUX_STREAMS_INBOUND_MAX: Final = 512  # of one connection
YAMUX_ANSWERS_MAX: Final = 1024  # that wait until the peer reads them
YAMUX_PING_AFTER_S: Final = 20.0  # in which nothing came
YAMUX_PONG_TIMEOUT_S: Final = 15.0
HANDSHAKE_MESSAGE_BYTES_MAX: Final = 4 * KIB  # ours have 200
NEGOTIATION_BYTES_MAX: Final = 256 * KIB
NEGOTIATION_STREAM_BYTES_MAX: Final = 4 * KIB  # read and answered on one stream
NEGOTIATION_TIMEOUT_S: Final = 10.0
CONNECTION_IDLE_S_MAX: Final = 30.0
REUSE_TIMEOUT_S: Final = 2.0
CONNECTIONS_PENDING_MAX: Final = 64
CONNECTIONS_PER_ADDRESS_MAX: Final = 64
CONNECTIONS_MAX: Final = 4096
STREAMS_PER_CONNECTION_MAX: Final = 16
DIAL_TIMEOUT_S: Final = 8.0
REQUEST_TIMEOUT_S: Final = 10.0
RECORDS_PER_TASK_MAX: Final = 16_384
SESSION_QUEUE_FRAMES_MAX: Final = 1024
SESSION_QUEUE_BYTES_MAX: Final = 2 * MIB
PUBLISHES_UNDER_WAY_MAX: Final = 8
PING_AFTER_S: Final = 20.0
PONG_TIMEOUT_S: Final = 15.0
BACKOFF_FIRST_S: Final = 0.1
BACKOFF_S_MAX: Final = 10.0
TRANSFER_IDLE_S_MAX: Final = 30.0
CHUNKS_UNDER_WAY_MAX: Final = 8

# Relayed links: two nodes that can only dial out, through a relay that sees only ciphertext.
RELAYED_DATA_BYTES_MAX: Final = 64 * KIB - 1  # one Noise message
RELAYED_WINDOW_BYTES: Final = 256 * KIB  # under way on a link, each way
RELAYED_FRAME_BYTES: Final = KIB  # what a frame costs of that beside its data
RELAYED_HANDSHAKE_S: Final = 10.0
RELAYED_OFFER_MS: Final = 8 * SECOND_MS  # how long an offer stands; less than REQUEST_TIMEOUT_S
RELAYED_IDLE_MS: Final = MINUTE_MS
RELAYED_LINKS_PER_AGENT_MAX: Final = 64
RELAYED_LINKS_MAX: Final = 4096
RELAYED_OPENS_PER_MINUTE_MAX: Final = 60  # by one agent
RELAYED_OFFERS_PER_MINUTE_MAX: Final = 120  # to one agent
RELAYED_HEAD_START_S: Final = 2.0  # of a peer's own addresses, before a relay is asked

# What is announced on a local network, where anybody may announce anything.
RELAYS_FOUND_MAX: Final = 4
RELAY_PLACES_FOUND_MAX: Final = 4  # of each
RELAY_NAMES_WAITING_MAX: Final = 32

# What strangers may make a node hold, and do, for tasks that it bid for or posted.
TASKS_WORKED_MAX: Final = 4096
REFUSALS_NOTED_PER_TASK_MAX: Final = 64
RESULTS_MAILED_PER_TASK_MAX: Final = 8
REMARKS_NOTED_PER_TASK_MAX: Final = 8
TASKS_LEARNT_AT_ONCE_MAX: Final = 16
INVITATIONS_PER_MINUTE_MAX: Final = 32  # by one poster that we know, or by all others together
INVITERS_COUNTED_MAX: Final = 4096
LINKS_SERVED_MAX: Final = 64
LINKS_SERVED_PER_PEER_MAX: Final = 4

# What a node keeps of the histories of others, and how much of them it asks for.
AUTHORS_KEPT_MAX: Final = 2**14
AUTHOR_ENTRIES_MAX: Final = 2**14  # beyond it the oldest are forgotten
AUTHOR_BYTES_MAX: Final = 32 * MIB
AUTHOR_ENTRIES_FETCHED_MAX: Final = 2**13  # the newest of a log that is new to us
AUTHORS_HEARD_MAX: Final = 16 * VALUES_PER_FILTER_MAX  # in one subscription
AUTHOR_RATERS_MAX: Final = 64  # whose logs are asked for since one author names them
EVIDENCE_BYTES_MAX: Final = 4096 * MIB
EVIDENCE_PARKED_MAX: Final = 2**12  # posts and successions whose record is not there yet
EVIDENCE_WITNESSED_MAX: Final = 2**14  # that a subscription brought and nobody has looked at yet
ENTRIES_PER_PLACE_MAX: Final = 4  # of one log; two prove a fork
ENTRIES_PER_SYNC_MAX: Final = 2**11  # of one log, from one relay, in one go
SYNC_REQUESTS_PER_MINUTE_MAX: Final = 600
FLAWS_PER_AUTHOR_MAX: Final = 64
CONVICTIONS_KEPT_MAX: Final = 2**17
SUCCESSIONS_PER_AGENT_MAX: Final = 8  # of one identity, that leave equally much of it
STAMPS_KEPT_MAX: Final = 2**16
STAMP_BITS_MIN: Final = 20
IMPORT_REFUSALS_NAMED_MAX: Final = 256

# Key files: what one may ask of us before its passphrase is known to be right.
KEY_FILE_BYTES_MAX: Final = 8 * KIB
SCRYPT_N_MAX: Final = 2**20
SCRYPT_R_MAX: Final = 16
SCRYPT_P_MAX: Final = 4

# What a stranger's schema and result may cost us, and what a program may tell.
DOCUMENT_BYTES_MAX: Final = 8 * MIB  # the largest result that is checked against a schema
SCHEMA_TIMEOUT_S: Final = 2.0
SCHEMA_MEMORY_BYTES_MAX: Final = 1024 * MIB
PROGRAM_LINE_CHARS_MAX: Final = 256
PROGRAM_LINES_KEPT: Final = 10
PROGRESS_INTERVAL_S: Final = 0.2
PROGRAM_STOP_S: Final = 2.0
ACCEPTANCE_TIMEOUT_S: Final = 300.0

# The node's own API. A larger input or result than the body goes by the Python library.
API_BODY_BYTES_MAX: Final = 64 * MIB
API_BODIES_BYTES_MAX: Final = 256 * MIB  # of all requests together
API_BODY_TIMEOUT_S: Final = 10.0
API_WAIT_S_MAX: Final = 60.0
API_PAGE_MAX: Final = 1000

# Reputation: how much of what strangers sign is looked at.
VOUCHES_COUNTED_MAX: Final = 3  # outstanding ones of a log
SUCCESSIONS_FOLLOWED_MAX: Final = 8  # one after the other

# What a relay holds in memory, and what one agent may ask of it.
RECENT_IDS_MAX: Final = 2**17
HEADS_CACHED_MAX: Final = 2**16
TASKS_CACHED_MAX: Final = 2**13
LOOSE_PER_TASK_MAX: Final = 32  # bids and declines of one agent
PARTNERS_KNOWN_MAX: Final = 2**16
AGENTS_COUNTED_MAX: Final = 2**14  # token buckets, letters waiting, agents convicted
ADVERTS_LIVE_MAX: Final = 2**17
ADVERT_WORDS_MAX: Final = 512
POSTS_OPEN_MAX: Final = 2**16
POSTS_OPEN_PER_AGENT_MAX: Final = 2**13
POSTS_EXAMINED_PER_ADVERT_MAX: Final = 1024
ROUTES_PER_ADVERT_MAX: Final = 16
AWARDS_UNACCEPTED_MAX: Final = 64  # of one agent at a time, by a relay
AWARDS_LET_GO_MAX: Final = 3  # of one task, by one agent
HEARTBEATS_PER_TIMEOUT_MAX: Final = 32  # a worker sends six
WAKE_MS: Final = SECOND_MS  # how long a woken worker has for its claim
RECORDS_PER_S_MAX: Final = 20_000
BYTES_PER_S_MAX: Final = 16 * MIB
ADDRESS_RECORDS_PER_S_MAX: Final = 4 * RECORDS_PER_S_MAX
ADDRESS_BYTES_PER_S_MAX: Final = 4 * BYTES_PER_S_MAX
PAUSE_AFTER_REFUSAL_S: Final = 0.05  # for which nothing is read of who was rate-limited
PAUSE_S_MAX: Final = 1.0
STRANGER_WRITES_PER_S_MAX: Final = 20  # frames, while a relay asks strangers for work
WORK_BITS_MAX: Final = 32  # that a relay may ask for; hours of one core
WORK_BITS_DONE_MAX: Final = 24  # that a node does for a relay unless told otherwise: half a minute
CLOCK_SLACK_MS: Final = HOUR_MS  # how wrong the clock of an advert's author may be
INTAKE_RECORDS_MAX: Final = 4096  # under one receipt
INTAKE_AFTER_MS: Final = MINUTE_MS  # for how long what was accepted may be under none
ADVERT_RETENTION_MS_MIN: Final = 10 * MINUTE_MS  # so that what expires soon has its receipt too
RECORD_RETENTION_MS: Final = 2 * RECORD_AGE_MS_MAX  # longer than a replay is accepted
HEARTBEAT_AGE_MS_MAX: Final = HOUR_MS  # an older one is not taken as new
HEARTBEAT_RETENTION_MS: Final = 2 * HOUR_MS  # longer, so that none comes back
WRITES_PER_LINK_MAX: Final = 256
WRITE_BYTES_PER_LINK_MAX: Final = MIB
WRITE_BYTES_MAX: Final = 64 * MIB
RECORDS_IN_WORK_MAX: Final = 4096
RECORDS_INLINE_MAX: Final = 7
RECORDS_PER_JOB_MAX: Final = 256
REPLAY_PAGE: Final = 256
REPLAY_BYTES_MAX: Final = 2 * FRAME_BYTES_MAX  # of a page, which waits until its reader has room
FEED_BYTES_MAX: Final = MIB  # events that wait for the end of a replay
HELLO_TIMEOUT_S: Final = 10.0
LINK_SILENT_S_MAX: Final = 300.0  # nodes ping far more often
LINKS_PER_AGENT_MAX: Final = 16
RELAY_STOP_S: Final = 1.0

# What relays ask of each other, and believe each other, when one catches up with another.
RANGE_DIGITS_MAX: Final = 4
RANGE_PARTS: Final = 16
RANGES_PER_FRAME_MAX: Final = 64
HEADS_PER_FRAME_MAX: Final = 256
SPANS_PER_FRAME_MAX: Final = 64
AGENTS_PER_FRAME_MAX: Final = 256
PEERS_MAX: Final = 32
RANGE_HEADS_LISTED: Final = 32  # a range with fewer logs is not worth comparing part by part
HEADS_PER_COMPARISON_MAX: Final = 2**21
PEER_HEADS_SETTLED_MAX: Final = 2**14  # of logs that a peer has otherwise, which were looked into
PULLS_UNDER_WAY_MAX: Final = 8  # of one peer
PULLED_RECORDS_MAX: Final = 1024  # that are decided in one go
PEER_BEHIND_MAX: Final = 4096  # records, up to which a peer's news are read one by one
PEER_QUEUE_BYTES_MAX: Final = 4 * MIB  # of events that were not taken yet
COMPARE_EVERY_S: Final = 600.0
FRUITLESS_COMPARISONS_MAX: Final = 8
PEER_BACKOFF_S_MAX: Final = 60.0  # of one that cannot be reached
PEER_SHUNNED_S: Final = 60.0  # of one that lied; twice as long each time
PEER_SHUNNED_S_MAX: Final = HOUR_MS / SECOND_MS
ORIGINS_KEPT_MAX: Final = 2**17
WHEREABOUTS_MAX: Final = 2**16

# What a node keeps of one contract: records of one kind by one author. Honest ones sign one.
ANSWERS_PER_CONTRACT_MAX: Final = 4
SUCCESSIONS_KEPT_MAX: Final = 65_536
