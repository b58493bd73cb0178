"""Message types that two services share."""
