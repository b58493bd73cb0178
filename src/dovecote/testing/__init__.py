"""Tests of agents, tools and plans without a sidecar: the ports in memory, a scripted model, a network of apps.

async with Network([orchestrator, researcher, directory.app], model=ScriptedModel("Because.")) as net:
    result = await net.ask({"question": "Why?"})
"""

from dovecote.testing.bus import MEMORY, Membership, MemoryBus
from dovecote.testing.clock import Clock
from dovecote.testing.crypto import MemoryCrypto, MemorySecrets
from dovecote.testing.invoke import MemoryInvoke
from dovecote.testing.model import ModelCall, ScriptedModel, tool_call, tool_calls
from dovecote.testing.network import Network
from dovecote.testing.replay import NondeterministicError
from dovecote.testing.state import MemoryState
from dovecote.testing.workflows import MemoryWorkflows

__all__ = [
    "MEMORY",
    "Clock",
    "Membership",
    "MemoryBus",
    "MemoryCrypto",
    "MemoryInvoke",
    "MemorySecrets",
    "MemoryState",
    "MemoryWorkflows",
    "ModelCall",
    "Network",
    "NondeterministicError",
    "ScriptedModel",
    "tool_call",
    "tool_calls",
]
