"""Lossless mappings between messages and the formats of others, one module each.

Each has `to_message` and `from_message`, and pydantic models of its format: `argentic`, `aos`, `acs`,
`cloudevents`, `jsonrpc`. What they share, and why nothing is lost, is in `lossless`.
"""
