"""The codec of an app, as its settings say."""

from dovecote.codec.claims import Claims
from dovecote.codec.compression import Compression
from dovecote.codec.pipeline import Codec
from dovecote.ports import State
from dovecote.settings import Settings


def codec_of(settings: Settings, *, claims: State) -> Codec:
    """The codec of an app; `claims` is the store in which all apps find large bodies."""
    return Codec(
        [Compression(settings.compress_over, settings.max_body)],
        Claims(claims, limit=settings.max_body, lifetime=settings.claim_ttl),
        claim_over=settings.claim_over,
    )
