"""`dovecote keys`: new keys for signatures and encryption, as lines of a file .env."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Final

from dovecote.cli.errors import CommandError
from dovecote.codec.keys import encryption_keys, new_keys

_SIGNING: Final = "SIGNING_KEYS"
_ENCRYPTION: Final = "ENCRYPTION_KEYS"


def new_lines(app_ids: Sequence[str], key_id: str, kept: Mapping[str, str]) -> list[str]:
    """Variables with a new key of that id for each app and one for content; old ones in `kept` are still known.

    Raises CommandError if there is a key of that id already, or what is kept are no keys.
    """
    private, public = new_keys([*app_ids], key_id)
    own = {f"SIGNING_KEY_{app_id.upper().replace('-', '_')}": key for app_id, key in private.items()}
    variables = own | {
        _SIGNING: _joined(_SIGNING, kept, public),
        _ENCRYPTION: _joined(_ENCRYPTION, kept, encryption_keys({key_id: os.urandom(32)})),
    }
    lines = [f"{name}='{value}'" for name, value in variables.items()]
    return [*lines, "# DOVECOTE_SIGNATURES=require", f"# DOVECOTE_ENCRYPTION_KEY={key_id}"]


def _joined(name: str, kept: Mapping[str, str], new: str) -> str:
    try:
        old = json.loads(kept.get(name) or '{"keys": []}')["keys"]
        keys = [*old, *json.loads(new)["keys"]]
        ids = [key["kid"] for key in keys]
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{name} holds no JSON Web Key Set", mend="remove it, or mend it") from error
    if len(set(ids)) < len(ids):
        raise CommandError(f"{name} has keys of that id already: {', '.join(ids)}", mend="name another with --id")
    return json.dumps({"keys": keys})
