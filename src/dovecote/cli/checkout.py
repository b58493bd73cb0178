"""The checkout that a command is about, and the system that runs in it."""

import json
from pathlib import Path
from typing import Any

from dovecote.cli.errors import CommandError, NotRunningError

_RUN = Path(".dovecote/run.json")


def find_checkout(start: Path) -> Path:
    """The nearest folder, from `start` upwards, with dapr.yaml and deploy/local; CommandError if none has them."""
    for folder in (start, *start.parents):
        if (folder / "dapr.yaml").is_file() and (folder / "deploy" / "local").is_dir():
            return folder
    raise CommandError(
        f"{str(start)!r} is in no checkout of Dovecote: no folder upwards has dapr.yaml and deploy/local",
        mend="change to the checkout",
    )


def recorded_gateway(checkout: Path) -> str | None:
    """Where the gateway of the checkout's system was told to answer; None if no system runs there."""
    url = _recorded(checkout).get("url")
    return str(url) if url else None


def recorded_apps(checkout: Path) -> dict[str, str]:
    """Where each app of the checkout's system was told to answer, by its name; none if no system runs there."""
    return dict(_recorded(checkout).get("apps", {}))


def gateway_address(start: Path) -> str:
    """Where the gateway of the system that runs in the checkout around `start` answers; else NotRunningError."""
    try:
        checkout = find_checkout(start)
    except CommandError as error:
        raise NotRunningError(
            str(error), mend="change to the checkout, or name a gateway with --gateway or DOVECOTE_GATEWAY"
        ) from error
    url = recorded_gateway(checkout)
    if url is None:
        raise NotRunningError(f"no system runs in {checkout}", mend="start it: make run")
    return url


def _recorded(checkout: Path) -> dict[str, Any]:
    path = checkout / _RUN
    text = path.read_text() if path.exists() else ""
    return dict(json.loads(text)) if text else {}
