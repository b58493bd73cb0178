"""Dapr's gRPC service for pub/sub components, as its descriptor says it."""

from __future__ import annotations

import re
from typing import Any, Final

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from services.zeromq_pubsub.proto import pubsub_pb2

SERVICE: Final = pubsub_pb2.DESCRIPTOR.services_by_name["PubSub"]


def handlers(component: object) -> grpc.GenericRpcHandler:
    """What serves the component: `BulkPublish` of the service is its method `bulk_publish`, and so on."""
    served = {one.name: _handler(one, getattr(component, name_of(one))) for one in SERVICE.methods}
    return grpc.method_handlers_generic_handler(SERVICE.full_name, served)


def name_of(method: MethodDescriptor) -> str:
    """A method's name as Python writes it."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower()


def _handler(method: MethodDescriptor, behaviour: Any) -> grpc.RpcMethodHandler[Any, Any]:
    kind = grpc.stream_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
    return kind(
        behaviour,
        request_deserializer=GetMessageClass(method.input_type).FromString,
        response_serializer=GetMessageClass(method.output_type).SerializeToString,
    )
