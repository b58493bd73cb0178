"""What a process logs: lines to read, or, for a collector of logs, one JSON object a line."""

import json
import logging
from datetime import UTC, datetime
from typing import Final, Literal

_TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_CHATTY: Final = ("WorkflowRuntime", "durabletask-worker", "durabletask-client")


class JsonFormatter(logging.Formatter):
    """A record as a JSON object: time, level, logger, message and app, and the traceback if there is one."""

    def __init__(self, app: str) -> None:
        super().__init__()
        self._app = app

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        return json.dumps(fields_of(record, self._app), ensure_ascii=False)


def fields_of(record: logging.LogRecord, app: str) -> dict[str, str]:
    """What a record says: time, level, logger, message and app, and the traceback and the stack if it has them."""
    told = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage(),
        "app": app,
    }
    form = logging.Formatter()
    if record.exc_info:
        told["traceback"] = form.formatException(record.exc_info)
    if record.stack_info:
        told["stack"] = form.formatStack(record.stack_info)
    return told


def configure(app: str, level: str, form: Literal["text", "json"]) -> None:
    """Send what is logged in this process to the error stream."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(app) if form == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.captureWarnings(capture=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
