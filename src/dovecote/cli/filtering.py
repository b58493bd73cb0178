"""The filters of dead letters, as options that several commands have in common."""

import inspect
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Annotated, Any, Final

import typer
from pydantic import TypeAdapter, ValidationError

from dovecote.deadletters import DeadLetterFilter
from dovecote.messages import now
from dovecote.problems import faults

_AGO: Final = re.compile(r"(\d+)([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_TIME: Final = TypeAdapter(datetime)
_HELP: Final = {
    "consumer": "The app that gave it up.",
    "topic": "The topic it came from: + is any one level, # at the end all that follow.",
    "type": "The message's type, such as task.",
    "sender": "Who sent it.",
    "reason": "A part of the reason.",
    "since": "The earliest time at which it was given up: 30m, 2h or 7d ago, or a time as in ISO 8601.",
}


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each filter, in the place of its first parameter, the filter they make."""
    parameters = [*inspect.signature(command).parameters.values()][1:]
    options = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[str | None, typer.Option(help=text)],
        )
        for name, text in _HELP.items()
    ]

    @wraps(command)
    def run(**given: Any) -> None:
        filters = {name: given.pop(name) for name in _HELP}
        command(read_filter(**filters), **given)

    vars(run)["__signature__"] = inspect.Signature([*parameters, *options])
    run.__annotations__ = {one.name: one.annotation for one in (*parameters, *options)}
    return run


def read_filter(**given: str | None) -> DeadLetterFilter:
    """The filter that options make. Raises typer.BadParameter for a topic or a time that is none."""
    since = given.pop("since", None)
    try:
        return DeadLetterFilter.model_validate({**given, "since": _time(since) if since else None})
    except ValidationError as error:
        raise typer.BadParameter(f"--{faults(error.errors())}") from None


def _time(text: str) -> datetime:
    ago = _AGO.fullmatch(text)
    if ago:
        return now() - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        return _TIME.validate_python(text).astimezone()
    except ValidationError:
        raise typer.BadParameter(f"--since: {text!r} is no time: 30m, 2h or 7d ago, or 2026-05-04T12:00") from None
