"""Stores: where the sidecar keeps state, against where it must be kept.

The modes are those of the agent communication system (its section Configuration): there one of them was taken in
silence when the other did not work; here an app with the wrong store ends.
"""

from typing import Final

from dovecote.errors import ConfigurationError

# The folder of components/state, and the type that the sidecar reports, of each mode.
_STORES: Final = {"sql": ("sqlserver", "state.sqlserver"), "mock": ("in-memory", "state.in-memory")}
_IN_MEMORY: Final = "state.in-memory"


def require_agreed(mode: str, kind: str) -> None:
    """Raise ConfigurationError unless a state store of the type `kind` is what the mode asks for.

    `mode` is `sql` or `mock`, or empty, and then any store will do. `kind` is empty if the sidecar has none.
    """
    if not mode:
        return
    folder, wanted = _STORES[mode]
    if kind != wanted:
        found = f"is a {kind}" if kind else "is not loaded"
        raise ConfigurationError(
            f"AGENT_COMMUNICATION_MODE {mode!r} asks for a {wanted}, and the sidecar's 'statestore' {found}",
            mend=f"name components/state/{folder} in resourcesPaths of dapr.yaml, or set STATE={folder} for "
            f"compose, or state.name={folder} in the chart's values; or unset the mode",
        )


def notes_on(kind: str) -> list[str]:
    """What whoever runs an app is to know of a state store of this type."""
    if kind != _IN_MEMORY:
        return []
    return ["state is kept in the sidecar's memory: it is lost with the sidecar, and replicas share none of it"]
