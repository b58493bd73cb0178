"""Dovecote: multi-agent services on Dapr."""

from dovecote import topics
from dovecote.agent import Agent
from dovecote.app import App
from dovecote.budget import Budget
from dovecote.bus import Bus
from dovecote.commands import Commands
from dovecote.conversation import Conversation, Conversations
from dovecote.errors import DovecoteError, Reject, ToolError
from dovecote.mailbox import Mailbox
from dovecote.messages import DeliveryMode, Message, MessageType, Priority
from dovecote.orchestrator import Orchestrator
from dovecote.plan import PlanContext
from dovecote.ports import Write
from dovecote.results import AgentResult, Source, Step, TaskEvent, TaskResult, cited
from dovecote.tools import Call, Tools

__all__ = [
    "Agent",
    "AgentResult",
    "App",
    "Budget",
    "Bus",
    "Call",
    "Commands",
    "Conversation",
    "Conversations",
    "DeliveryMode",
    "DovecoteError",
    "Mailbox",
    "Message",
    "MessageType",
    "Orchestrator",
    "PlanContext",
    "Priority",
    "Reject",
    "Source",
    "Step",
    "TaskEvent",
    "TaskResult",
    "ToolError",
    "Tools",
    "Write",
    "cited",
    "topics",
]
