"""Samples: one small program for each use of messages, which `python -m services.samples NAME` runs in memory."""
