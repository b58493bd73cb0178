"""What the measured apps and the load agree on: topics, and known times in seconds.

Topics have no levels, so that every broker spells them alike.
"""

from typing import Final

SINGLE: Final = "bench-single"
BULK: Final = "bench-bulk"
PLAIN: Final = "bench-plain"
WAITING_SINGLE: Final = "bench-waiting-single"
WAITING_BULK: Final = "bench-waiting-bulk"
WAITING_PLAIN: Final = "bench-waiting-plain"
BARE: Final = "bench-bare"
REPLIES: Final = "bench-replies"

WAIT_SECONDS: Final = 0.05
MODEL_SECONDS: Final = 0.05
TOOL_SECONDS: Final = 0.02
