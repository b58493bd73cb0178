"""Calls to the sidecar over gRPC belong to the trace of what they are made for."""

from collections.abc import Callable
from typing import Any, Final

import grpc
from dapr.ext.workflow.aio import DaprWorkflowClient

from dovecote.traces import carried

_ANY_LENGTH: Final = -1


class TracedCalls(grpc.aio.UnaryUnaryClientInterceptor):
    """Puts the trace of the running task into the metadata of each call."""

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        """Make the call."""
        details = client_call_details
        if headers := carried():
            metadata = grpc.aio.Metadata(*(details.metadata or ()), *headers.items())
            details = grpc.aio.ClientCallDetails(
                details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
            )
        return await continuation(details, request)


class TracedWorkflowClient(DaprWorkflowClient):
    """The SDK's client, which takes no interceptors: it has one more before its channel is made."""

    def __init__(self, *, host: str, port: str) -> None:
        # What a run was given and gave comes together, and the sidecar decides how large either may be.
        super().__init__(host=host, port=port, max_grpc_message_length=_ANY_LENGTH)
        client: Any = vars(self)["_DaprWorkflowClient__obj"]
        client._interceptors.append(TracedCalls())  # noqa: SLF001 - see above
