"""The keys of signatures, from the secret store: an app's own, and those by which others are known.

An app's own key is a JSON Web Key (RFC 8037, kty OKP, crv Ed25519) with its private part; the others are one JSON
Web Key Set of public keys, each with the member `app_id`, which binds it to the sender that it speaks for.
"""

import base64
import binascii
import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Final, Literal, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import AfterValidator, BaseModel, ValidationError

from dovecote.errors import ConfigurationError, NotFoundError, UnavailableError
from dovecote.ports import Secrets
from dovecote.problems import faults
from dovecote.singleflight import SingleFlight

log = logging.getLogger(__name__)

_AGAIN: Final = 10.0  # seconds until the keys are read again when one is not among them
_STALE: Final = 60.0  # seconds until they are read again in any case, since one may have been taken out
_SIZE: Final = 32  # bytes of each part of a key


def _is_part(text: str) -> str:
    try:
        size = len(_decoded(text))
    except binascii.Error:
        size = -1
    if size != _SIZE:
        raise ValueError(f"is not {_SIZE} bytes in base64url")
    return text


M = TypeVar("M", bound=BaseModel)
Part = Annotated[str, AfterValidator(_is_part)]


class _Public(BaseModel):
    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    kid: str
    x: Part


class _Private(_Public):
    d: Part


class _Bound(_Public):
    app_id: str


class _KeySet(BaseModel):
    keys: list[_Bound]


class KeyRing:
    """Reads keys when they are first needed. `private` and `public` name the secrets.

    In `private`, `{app}` stands for the app-id and `{APP}` for the same in capitals, with `_` for `-`.
    """

    def __init__(
        self,
        secrets: Secrets,
        app_id: str,
        *,
        private: str,
        public: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._secrets = secrets
        self._app_id = app_id
        self._private_name = private.format(app=app_id, APP=app_id.upper().replace("-", "_"))
        self._public_name = public
        self._own: tuple[str, Ed25519PrivateKey] | None = None
        self._known: dict[str, tuple[str, Ed25519PublicKey]] = {}
        self._read_at = float("-inf")
        self._reading = SingleFlight[None]()
        self._clock = clock

    async def own(self) -> tuple[str, Ed25519PrivateKey]:
        """The app's own key and its id. Raises ConfigurationError that names the secret."""
        if self._own is None:
            key = await self._secret(self._private_name, _Private)
            self._own = key.kid, Ed25519PrivateKey.from_private_bytes(_decoded(key.d))
        return self._own

    async def known(self, key_id: str) -> tuple[str, Ed25519PublicKey] | None:
        """The app-id that a key speaks for, and the key; None if there is no such key, nor a new one.

        Raises UnavailableError for a key that may be new, since the set was read a moment before it was asked for.
        """
        asked = self._clock()
        found = await self._find(key_id)
        if found is None and self._read_at < asked:
            raise UnavailableError(
                f"key {key_id!r} was in no set of {self._public_name!r} {asked - self._read_at:.0f} s ago, and may "
                "be new: the set is read again soon"
            )
        return found

    async def check(self) -> None:
        """Raise ConfigurationError if a key is missing, or the app's own does not speak for it."""
        key_id, key = await self.own()
        found = await self._find(key_id)
        if found is None or found != (self._app_id, key.public_key()):
            raise ConfigurationError(
                f"key {key_id!r} of secret {self._private_name!r} is not that of app {self._app_id!r} "
                f"in secret {self._public_name!r}",
                mend="make keys with `dovecote keys`, and give every app the same set of public ones",
            )

    async def _find(self, key_id: str) -> tuple[str, Ed25519PublicKey] | None:
        age = self._clock() - self._read_at
        if age > (_STALE if key_id in self._known else _AGAIN):
            try:
                await self._reading.do(self._public_name, self._read)
            except UnavailableError as error:
                if key_id not in self._known:
                    raise
                log.warning("key %r is that of %.0f s ago: %s", key_id, age, error)
        return self._known.get(key_id)

    async def _read(self) -> None:
        began = self._clock()
        keys = (await self._secret(self._public_name, _KeySet)).keys
        self._known = {key.kid: (key.app_id, Ed25519PublicKey.from_public_bytes(_decoded(key.x))) for key in keys}
        self._read_at = began

    async def _secret(self, name: str, kind: type[M]) -> M:
        try:
            text = await self._secrets.get(name)
            return kind.model_validate_json(text)
        except NotFoundError as error:
            reason = str(error)
        except ValidationError as error:
            reason = f"secret {name!r} does not hold what it must: {faults(error.errors(include_input=False))}"
        # Outside of the handler, so that no traceback shows what the secret holds.
        raise ConfigurationError(reason, mend="make keys with `dovecote keys`, or set DOVECOTE_SIGNATURES=off")


def new_keys(app_ids: list[str], key_id: str) -> tuple[dict[str, str], str]:
    """A private key for each app, and the set of their public keys, as they are kept; `key_id` tells their time."""
    private: dict[str, str] = {}
    public: list[_Bound] = []
    for app_id in app_ids:
        key = Ed25519PrivateKey.generate()
        parts = _Private(
            kty="OKP",
            crv="Ed25519",
            kid=f"{app_id}-{key_id}",
            x=_encoded(key.public_key().public_bytes_raw()),
            d=_encoded(key.private_bytes_raw()),
        )
        private[app_id] = parts.model_dump_json()
        public.append(_Bound(**parts.model_dump(exclude={"d"}), app_id=app_id))
    return private, _KeySet(keys=public).model_dump_json()


def encryption_keys(keys: Mapping[str, bytes]) -> str:
    """The JSON Web Key Set of symmetric keys, by their ids, as the component `crypto` reads it."""
    rows = [{"kty": "oct", "alg": "A256KW", "kid": key_id, "k": _encoded(key)} for key_id, key in keys.items()]
    return json.dumps({"keys": rows})


def _encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def _decoded(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
