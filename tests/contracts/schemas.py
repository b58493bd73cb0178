"""The wire formats that other programs rely on; `python -m tests.contracts.schemas` writes them anew."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from dovecote import DeliveryMode, Message, MessageType, Priority, TaskEvent, TaskResult
from dovecote.deadletters import DeadLetter, DeadLetterAction, DeadLetterPage, DeadLetterQuery, Resubmission
from dovecote.directory import Presence, Registration
from dovecote.orchestrator import NewTask
from dovecote.results import AgentResult, Failure
from dovecote.tools import ToolOutcome, ToolRequest
from dovecote.values import Value
from services.contracts.documents import IndexReport, SearchResult
from services.contracts.tasks import Answer, Question

GOLDEN: Final = Path(__file__).parent / "golden"
MODELS: Final[tuple[type[BaseModel], ...]] = (
    AgentResult,
    Answer,
    DeadLetter,
    DeadLetterAction,
    DeadLetterPage,
    DeadLetterQuery,
    Failure,
    IndexReport,
    Message,
    NewTask,
    Presence,
    Question,
    Registration,
    Resubmission,
    SearchResult,
    TaskEvent,
    TaskResult,
    ToolOutcome,
    ToolRequest,
    Value,
)
EXAMPLE: Final = Message(
    id="5a3c",
    type=MessageType.TASK,
    sender="orchestrator",
    recipient="researcher",
    content={"question": "Why?"},
    priority=Priority.HIGH,
    timestamp=datetime(2026, 5, 4, 3, 2, 1, 500000, tzinfo=UTC),
    ttl=30.0,
    deadline=datetime(2026, 5, 4, 4, 0, tzinfo=UTC),
    correlation_id="5a3b",
    causation_id="5a3a",
    conversation_id="5a39",
    reply_to="agents/orchestrator/inbox",
    idempotency_key="once",
    order_key="till",
    delivery=DeliveryMode.EXACTLY_ONCE,
    max_attempts=3,
    metadata={"docs": "guide"},
)


def schemas() -> dict[str, Any]:
    """Each wire format by the name of its file: JSON Schemas, and one message as a CloudEvents event."""
    made: dict[str, Any] = {f"{model.__name__}.json": model.model_json_schema() for model in MODELS}
    made["message.cloudevent.json"] = EXAMPLE.to_cloudevent()
    return made


def text_of(schema: object) -> str:
    """A schema as it is written."""
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for file, schema in schemas().items():
        (GOLDEN / file).write_text(text_of(schema))
