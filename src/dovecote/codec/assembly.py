"""The codec of an app, as its settings say."""

from dovecote.codec.claims import Claims
from dovecote.codec.compression import Compression
from dovecote.codec.encryption import Encryption
from dovecote.codec.keys import KeyRing
from dovecote.codec.pipeline import Codec
from dovecote.codec.signing import Signing
from dovecote.ports import Crypto, Secrets, State
from dovecote.settings import Settings


def codec_of(app_id: str, settings: Settings, *, claims: State, crypto: Crypto, secrets: Secrets) -> Codec:
    """The codec of an app; `claims` is the store in which all apps find large bodies."""
    return Codec(
        [Compression(settings.compress_over, settings.max_body), Encryption(crypto, settings.encryption_key)],
        Claims(claims, limit=settings.max_body, lifetime=settings.claim_ttl),
        app_id=app_id,
        signing=None if settings.signatures == "off" else _signing(app_id, settings, secrets),
        claim_over=settings.claim_over,
    )


def _signing(app_id: str, settings: Settings, secrets: Secrets) -> Signing:
    keys = KeyRing(secrets, app_id, private=settings.signing_secret, public=settings.verifying_secret)
    return Signing(
        app_id,
        keys,
        require=settings.signatures == "require",
        window=settings.signature_window,
        unsigned=settings.unsigned_topics.split(),
    )
