"""Every field, value and method that the reference documents name is there."""

import json
from datetime import UTC, datetime

import pytest

from dovecote import DeliveryMode, Message, MessageType, Priority
from dovecote.adapters import acs, aos, argentic
from dovecote.adapters.lossless import Foreign
from dovecote.errors import InvalidInputError

FIELDS: dict[type[Foreign], str] = {
    aos.AosMessage: "message_id message_type sender_id recipient_id content timestamp priority metadata "
    "correlation_id reply_to ttl",
    acs.AgentMessage: "message_id from_agent to_agent message_type content priority timestamp",
    acs.TaskRequest: "task_id task_type description parameters required_capabilities priority deadline",
    acs.TaskResponse: "task_id status result completion_percentage execution_time",
    acs.StatusUpdate: "agent_id status task_id progress capabilities current_tasks",
    acs.ErrorReport: "task_id error_type error_message",
}


@pytest.mark.promise("AOS-01", "ACS-01", "ACS-04")
@pytest.mark.parametrize("model", [*FIELDS])
def test_a_foreign_message_has_all_its_fields(model: type[Foreign]) -> None:
    assert {*FIELDS[model].split()} - model.model_fields.keys() == set()


@pytest.mark.promise("AOS-02")
def test_the_eight_types_of_message_are_the_same_here_and_there() -> None:
    types = ["task", "query", "response", "event", "command", "status", "notification", "error"]
    assert [kind.value for kind in aos.MessageType] == types == [kind.value for kind in MessageType]
    for kind in types:
        foreign = aos.AosMessage(message_id="m", message_type=kind, sender_id="a")
        message = aos.to_message(foreign)
        assert (message.type, aos.from_message(message)) == (kind, foreign)


def test_the_five_priorities_are_the_same_here_and_there() -> None:
    names = ["CRITICAL", "HIGH", "NORMAL", "LOW", "BACKGROUND"]
    assert [(priority.name, priority.value) for priority in aos.MessagePriority] == [
        *zip(names, range(5), strict=True)
    ]
    for priority in Priority:
        message = Message(type=MessageType.TASK, sender="a", priority=priority)
        assert aos.from_message(message).wire()["priority"] == priority


def test_modes_of_delivery_have_the_documented_names() -> None:
    assert [mode.value for mode in aos.DeliveryMode] == ["at_most_once", "at_least_once", "exactly_once"]
    message = Message(
        type=MessageType.TASK, sender="a", delivery=DeliveryMode.EXACTLY_ONCE, idempotency_key="task_1"
    )
    extension = {"delivery": "exactly_once", "idempotency_key": "task_1"}
    assert aos.from_message(message).metadata == {"dovecote": extension}


@pytest.mark.promise("AOS-01")
def test_the_documented_message_of_the_agent_operating_system_is_read_field_by_field() -> None:
    message = aos.to_message(
        {
            "message_id": "msg_001",
            "message_type": "task",
            "sender_id": "orchestrator",
            "recipient_id": "ceo_agent",
            "content": {"task": "analyze_quarterly_report"},
            "timestamp": "2025-12-25T10:00:00",
            "priority": 1,
            "metadata": {"correlation_id": "task_123", "attempts": 2},
            "correlation_id": "c-1",
            "reply_to": "agents/orchestrator/inbox",
            "ttl": 3600,
        }
    )
    assert message.model_dump(exclude={"metadata"}, exclude_defaults=True) == {
        "id": "msg_001",
        "type": "task",
        "sender": "orchestrator",
        "recipient": "ceo_agent",
        "content": {"task": "analyze_quarterly_report"},
        "timestamp": datetime(2025, 12, 25, 10, tzinfo=UTC),
        "priority": Priority.HIGH,
        "correlation_id": "c-1",
        "reply_to": "agents/orchestrator/inbox",
        "ttl": 3600,
    }
    assert message.metadata["correlation_id"] == "task_123"
    assert aos.from_message(message).metadata == {"correlation_id": "task_123", "attempts": 2}


@pytest.mark.promise("ACS-01")
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("TASK_ASSIGNMENT", "task"),
        ("TASK_REQUEST", "task"),
        ("TASK_RESPONSE", "response"),
        ("STATUS_UPDATE", "status"),
        ("HEARTBEAT", "status"),
        ("ERROR_REPORT", "error"),
        ("COORDINATION", "command"),
    ],
)
def test_each_type_of_an_agent_message_has_its_type_here_and_comes_back(name: str, kind: str) -> None:
    assert len(acs.MessageType) == 7
    for spelled in (name, name.lower()):
        sent = acs.AgentMessage.from_json(json.dumps({"from_agent": "a", "to_agent": "b", "message_type": spelled}))
        message = acs.to_message(sent)
        assert (message.type.value, sent.message_type.name) == (kind, name)
        assert acs.from_message(message) == sent


@pytest.mark.promise("ACS-01")
def test_the_priorities_of_an_agent_message_have_theirs_here() -> None:
    priorities = {"CRITICAL": 0, "HIGH": 1, "MEDIUM": 2, "LOW": 3}
    for priority in acs.MessagePriority:
        sent = acs.AgentMessage(from_agent="a", message_type=acs.MessageType.HEARTBEAT, priority=priority)
        assert acs.to_message(sent).priority == priorities.pop(priority.name)
    assert priorities == {}
    assert acs.AgentMessage(from_agent="a", message_type="heartbeat").priority is acs.MessagePriority.MEDIUM


@pytest.mark.promise("ACS-01")
def test_an_agent_message_goes_to_json_and_back_and_to_everybody_without_a_recipient() -> None:
    sent = acs.AgentMessage(from_agent="a", message_type=acs.MessageType.COORDINATION, content={"do": "rest"})
    assert acs.AgentMessage.from_json(sent.to_json()) == sent
    assert sent.is_broadcast
    assert acs.to_message(sent).recipient is None
    assert not sent.model_copy(update={"to_agent": "b"}).is_broadcast
    everybody = Message(type=MessageType.COMMAND, sender="a", recipient=None)
    assert acs.from_message(everybody).is_broadcast


@pytest.mark.promise("ACS-04")
@pytest.mark.parametrize(
    ("kind", "content", "model"),
    [
        (
            "TASK_REQUEST",
            {
                "task_id": "t-1",
                "task_type": "api_development",
                "description": "Create an API",
                "parameters": {"framework": "fastapi"},
                "required_capabilities": ["python", "api_development"],
                "deadline": "2030-01-01T00:00:00Z",
            },
            acs.TaskRequest,
        ),
        (
            "TASK_RESPONSE",
            {"task_id": "t-1", "status": "completed", "result": {"ok": True}, "completion_percentage": 100.0},
            acs.TaskResponse,
        ),
        (
            "STATUS_UPDATE",
            {"agent_id": "a", "status": "busy", "progress": 62.5, "capabilities": ["python"], "current_tasks": 2},
            acs.StatusUpdate,
        ),
        ("ERROR_REPORT", {"task_id": "t-1", "error_type": "failure", "error_message": "no"}, acs.ErrorReport),
    ],
)
def test_content_is_what_the_type_says(kind: str, content: dict[str, object], model: type[Foreign]) -> None:
    sent = acs.AgentMessage.checked({"from_agent": "a", "message_type": kind, "content": content})
    details = sent.details()
    assert type(details) is model
    assert details.wire() == content
    message = acs.to_message(sent)
    assert message.conversation_id == content.get("task_id")
    due = datetime(2030, 1, 1, tzinfo=UTC) if "deadline" in content else None
    assert message.deadline == due


@pytest.mark.parametrize(
    ("deadline", "due"),
    [
        ("2030-01-01T00:00:00", datetime(2030, 1, 1, tzinfo=UTC)),
        ("2030-01-01T01:00:00+01:00", datetime(2030, 1, 1, tzinfo=UTC)),
        (3600, None),
        ("3600", None),
        (20300101, None),
        (None, None),
    ],
)
def test_a_deadline_without_a_zone_counts_as_utc_and_what_is_no_time_is_content_only(
    deadline: object, due: datetime | None
) -> None:
    content = {"task_type": "x", "deadline": deadline}
    sent = acs.AgentMessage.checked({"from_agent": "a", "message_type": "TASK_REQUEST", "content": content})
    message = acs.to_message(sent)
    assert (message.deadline, message.content) == (due, content)


@pytest.mark.promise("ACS-04")
@pytest.mark.parametrize(
    ("kind", "content", "fault"),
    [
        ("TASK_REQUEST", {}, "task_type: Field required"),
        ("TASK_REQUEST", {"task_type": "x", "deadline": "soon"}, "deadline: "),
        ("TASK_RESPONSE", {"status": "completed", "completion_percentage": 101}, "completion_percentage: "),
        ("STATUS_UPDATE", {"progress": -1}, "progress: "),
        ("STATUS_UPDATE", {"capabilities": "python"}, "capabilities: "),
        ("COORDINATION", {}, "message_type: the content of a COORDINATION is free"),
    ],
)
def test_content_that_does_not_fit_names_the_field(kind: str, content: dict[str, object], fault: str) -> None:
    sent = acs.AgentMessage.checked({"from_agent": "a", "message_type": kind, "content": content})
    with pytest.raises(InvalidInputError, match=fault) as refused:
        sent.details()
    assert refused.value.mend


@pytest.mark.parametrize(
    ("topic", "payload", "kind"),
    [
        ("agent/status/info", {"state": "ready"}, "status"),
        ("agent/query/ask", {"question": "why?"}, "query"),
        ("agent/query/response", {"question": "why?", "answer": "because"}, "response"),
        ("agent/query/response", {"question": "why?", "error": "no model"}, "error"),
        ("agent/tools/register", {"tool_name": "scale", "tool_manual": "Weighs.", "tool_api": "{}"}, "event"),
        ("agent/tools/call/scale", {"id": "c-1", "arguments": {"what": "anvil"}}, "task"),
        ("agent/tools/response/scale", {"id": "c-1", "result": {"grams": 7500}}, "response"),
        ("tools/scale/register", {"name": "scale", "description": "Weighs."}, "event"),
        ("tools/scale/status", {"state": "ready"}, "status"),
        ("tools/scale/call/t-1", {"task_id": "t-1", "arguments": {}}, "task"),
        ("tools/scale/response/t-1", {"task_id": "t-1", "error": "broken"}, "error"),
        *((f"logs/{level}", {"message": "hot"}, "notification") for level in argentic.LEVELS),
        ("logs/agent/planner", {"message": "hot", "level": "info"}, "notification"),
    ],
)
def test_each_topic_of_the_tree_has_its_type(topic: str, payload: dict[str, object], kind: str) -> None:
    message = argentic.to_message({"topic": topic, "payload": payload})
    assert (message.type.value, message.content) == (kind, payload)
    again = argentic.from_message(message)
    assert again.wire() == {"topic": topic, "payload": payload}
    if kind == "task":
        assert (message.recipient, message.id) == ("scale", payload.get("id") or payload["task_id"])
    if "tools" in topic and kind in ("response", "error"):
        assert message.correlation_id == payload.get("id") or payload["task_id"]


@pytest.mark.parametrize(
    ("foreign", "fault"),
    [
        ({"topic": "weather", "payload": {}}, "topic 'weather' is none of agent/status/info"),
        ({"topic": "agent/query/ask", "payload": {}}, "question: Field required"),
        ({"topic": "agent/query/ask", "payload": 7}, "payload: Input should be a valid dict"),
        ({"topic": "tools/x/register", "payload": {}}, "name is missing"),
        ({"payload": {}}, "topic: Field required"),
    ],
)
def test_what_is_no_payload_of_its_topic_is_refused(foreign: dict[str, object], fault: str) -> None:
    with pytest.raises(InvalidInputError, match=fault) as refused:
        argentic.to_message(foreign)
    assert refused.value.mend == "its fields are topic (required), payload (required)"


def test_messages_of_ours_go_to_the_topics_where_argentic_looks() -> None:
    def topic(kind: MessageType, content: object, recipient: str | None = None) -> str:
        return argentic.from_message(Message(type=kind, sender="a", recipient=recipient, content=content)).topic

    assert topic(MessageType.QUERY, {"question": "why?"}) == "agent/query/ask"
    assert topic(MessageType.RESPONSE, {"answer": "because"}) == "agent/query/response"
    assert topic(MessageType.TASK, {"arguments": {}}, "scale") == "agent/tools/call/scale"
    assert topic(MessageType.NOTIFICATION, {"level": "error", "message": "hot"}) == "logs/error"
    assert topic(MessageType.QUERY, "no question") == "agent/status/info"
