"""The model behind the component `llm`, through Dapr's Conversation API."""

import re
from collections.abc import Sequence
from typing import Any, Final, cast

import grpc
from dapr.aio.clients import DaprClient
from dapr.clients.exceptions import DaprGrpcError
from dapr.clients.grpc.conversation import (
    ConversationInputAlpha2,
    ConversationMessage,
    ConversationMessageContent,
    ConversationMessageOfAssistant,
    ConversationMessageOfSystem,
    ConversationMessageOfTool,
    ConversationMessageOfUser,
    ConversationToolCalls,
    ConversationToolCallsOfFunction,
    ConversationTools,
    ConversationToolsFunction,
)

from dovecote.dapr.sidecar import MODEL, Sidecar
from dovecote.dapr.traced import TracedCalls
from dovecote.errors import ModelError, ModelUnavailableError
from dovecote.ports import ChatMessage, Completion, ToolCall, ToolSpec, Usage

# Conversation reports a provider's refusal as text only; these are the HTTP statuses in it that no retry mends.
_REFUSED: Final = re.compile(r"\b(400|401|403|404|405|413|422)\b")


class DaprModel:
    """A language model; which one is a component file."""

    def __init__(self, sidecar: Sidecar, grpc_port: int) -> None:
        self._sidecar = sidecar
        self._address = f"127.0.0.1:{grpc_port}"
        self._client: DaprClient | None = None

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await cast("Any", self._client).close()  # untyped in the SDK

    async def complete(self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec]) -> Completion:
        """One model call: ModelUnavailableError if trying again may help, else ModelError."""
        if self._client is None:
            # The SDK's constructor waits for the sidecar with blocking calls: here it has nothing to wait for.
            await self._sidecar.wait_until_healthy()
            self._client = DaprClient(address=self._address, interceptors=[TracedCalls()])
        try:
            response = await self._client.converse_alpha2(
                name=MODEL,
                inputs=[ConversationInputAlpha2(messages=[_outgoing(message) for message in messages])],
                tools=[_tool(tool) for tool in tools] or None,
                tool_choice="auto" if tools else None,
            )
        except (DaprGrpcError, grpc.aio.AioRpcError) as error:
            raise _refusal(error) from error
        output = response.outputs[0]
        message = output.choices[0].message
        usage = output.usage
        return Completion(
            text=message.content or "",
            tool_calls=[_call(call, index) for index, call in enumerate(message.tool_calls or [])],
            usage=Usage(
                model_calls=1,
                prompt_tokens=usage.prompt_tokens if usage else 0,
                completion_tokens=usage.completion_tokens if usage else 0,
            ),
        )


def _outgoing(message: ChatMessage) -> ConversationMessage:
    content = [ConversationMessageContent(text=message.content)] if message.content else []
    match message.role:
        case "system":
            return ConversationMessage(of_system=ConversationMessageOfSystem(content=content))
        case "user":
            return ConversationMessage(of_user=ConversationMessageOfUser(content=content))
        case "tool":
            return ConversationMessage(
                of_tool=ConversationMessageOfTool(
                    tool_id=message.tool_call_id, name=message.name or "", content=content
                )
            )
        case "assistant":
            calls = [
                ConversationToolCalls(
                    id=call.id,
                    function=ConversationToolCallsOfFunction(name=call.name, arguments=call.arguments),
                )
                for call in message.tool_calls
            ]
            return ConversationMessage(
                of_assistant=ConversationMessageOfAssistant(content=content, tool_calls=calls)
            )


def _tool(tool: ToolSpec) -> ConversationTools:
    return ConversationTools(
        function=ConversationToolsFunction(name=tool.name, description=tool.description, parameters=tool.parameters)
    )


def _call(call: Any, index: int) -> ToolCall:
    return ToolCall(id=call.id or str(index), name=call.function.name, arguments=call.function.arguments)


def _refusal(error: Exception) -> ModelError | ModelUnavailableError:
    details = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
    text = f"model component {MODEL!r}: {details}"
    if _REFUSED.search(str(details)):
        return ModelError(text, mend="check the key, the model name and the endpoint of the component")
    return ModelUnavailableError(text, mend="check that the model's endpoint answers")
