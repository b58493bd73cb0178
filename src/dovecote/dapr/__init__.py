"""The ports on a Dapr sidecar: the only package that imports dapr."""

from dovecote.dapr.connection import connect

__all__ = ["connect"]
