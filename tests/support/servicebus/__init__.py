"""A stand-in for Azure Service Bus: enough of its AMQP protocol for the real client in the sidecar to work.

It has topics with subscriptions, peek-lock with renewal, dead-letter queues, batches and sessions, and it keeps
what waits over a restart. A subscription comes into being when a receiver first attaches to it, and stays. It runs
as a program in an environment of its own, since its AMQP library has to be compiled.
"""
