"""The topics on which messages are measured; without levels, so that every broker spells them alike."""

from typing import Final

SINGLE: Final = "bench-single"
BULK: Final = "bench-bulk"
PLAIN: Final = "bench-plain"
WAITING_SINGLE: Final = "bench-waiting-single"
WAITING_BULK: Final = "bench-waiting-bulk"
WAITING_PLAIN: Final = "bench-waiting-plain"
WAIT_SECONDS: Final = 0.05
