"""A Dapr pluggable component that carries pub/sub over ZeroMQ, and the broker behind it."""
