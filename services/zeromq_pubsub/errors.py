"""What can go wrong here: one root, and the gRPC status by which the sidecar learns of each."""

import grpc


class ZeroMqError(Exception):
    """The root.

    ZeroMqError
    |-- SettingError             a setting of the component cannot be used
    |-- TopicError               a topic's name cannot be used
    |-- TooLargeError            a message is larger than the sidecar takes back
    |-- NotTakenError            the broker did not take all that was published
    |   |-- QueueFullError           it holds as many messages as it may
    |   `-- BrokerUnavailableError   it does not answer
    `-- NotInitializedError      the sidecar has not said yet which broker to use
    """

    status = grpc.StatusCode.INTERNAL


class SettingError(ZeroMqError):
    """A setting of the component cannot be used; the message begins with its name."""

    status = grpc.StatusCode.INVALID_ARGUMENT


class TopicError(ZeroMqError):
    """A topic's name cannot be used."""

    status = grpc.StatusCode.INVALID_ARGUMENT


class TooLargeError(ZeroMqError):
    """A message is larger than the sidecar takes back."""

    status = grpc.StatusCode.INVALID_ARGUMENT


class NotTakenError(ZeroMqError):
    """The broker did not take all that was published."""


class QueueFullError(NotTakenError):
    """The broker holds as many messages as it may, and no consumer made room in time."""

    status = grpc.StatusCode.RESOURCE_EXHAUSTED


class BrokerUnavailableError(NotTakenError):
    """The broker does not answer."""

    status = grpc.StatusCode.UNAVAILABLE


class NotInitializedError(ZeroMqError):
    """The sidecar has not said yet which broker to use."""

    status = grpc.StatusCode.FAILED_PRECONDITION
