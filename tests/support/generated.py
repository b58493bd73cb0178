"""Messages and JSON that hypothesis makes up."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from dovecote import DeliveryMode, Message, MessageType, Priority

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20)
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=4)
TIMES = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
MESSAGES = st.builds(
    Message,
    id=TEXT.filter(bool),
    type=st.sampled_from(MessageType),
    sender=TEXT,
    recipient=st.none() | TEXT,
    content=JSON,
    priority=st.sampled_from(Priority),
    timestamp=TIMES,
    ttl=st.none() | st.floats(0.001, 1e6),
    deadline=st.none() | TIMES,
    correlation_id=st.none() | TEXT,
    causation_id=st.none() | TEXT,
    conversation_id=st.none() | TEXT,
    reply_to=st.none() | TEXT,
    idempotency_key=st.none() | TEXT,
    order_key=st.none() | TEXT,
    delivery=st.sampled_from(DeliveryMode),
    max_attempts=st.none() | st.integers(1, 100),
    metadata=st.dictionaries(TEXT, TEXT, max_size=3),
)
