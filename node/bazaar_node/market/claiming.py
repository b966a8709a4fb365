"""Why a claim was not even made; beside what a relay answers to one that was."""

from typing import Final

CLAIM_BUSY: Final = "busy"
"""There is no slot for what it would bring."""
CLAIM_ELSEWHERE: Final = "elsewhere"
"""The relay that sequences it is none of ours: a bid gets there as all records do."""
