"""Bare: a turn's steps as a Dapr workflow with no Dovecote in it; it sleeps where the agent calls model and tool.

What it takes beyond its sleeps is what a durable turn costs on Dapr at least: a task delivered, a workflow of four
activities, a reply published.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any

import uvicorn
from dapr.aio.clients import DaprClient
from dapr.ext.fastapi import DaprApp
from dapr.ext.workflow import DaprWorkflowContext, RetryPolicy, WorkflowActivityContext, WorkflowRuntime
from dapr.ext.workflow.aio import DaprWorkflowClient
from fastapi import Body, FastAPI

from bench.agreed import BARE, MODEL_SECONDS, TOOL_SECONDS

RETRY = RetryPolicy(first_retry_interval=timedelta(seconds=1), max_number_of_attempts=10)
runtime = WorkflowRuntime()


def turn(context: DaprWorkflowContext, task: dict[str, Any]) -> Generator[Any, Any, None]:
    yield context.call_activity("rest", input=MODEL_SECONDS)
    yield context.call_activity("rest", input=TOOL_SECONDS)
    yield context.call_activity("rest", input=MODEL_SECONDS)
    yield context.call_activity("reply", input=task, retry_policy=RETRY)


async def rest(_: WorkflowActivityContext, seconds: float) -> None:
    await asyncio.sleep(seconds)


async def reply(_: WorkflowActivityContext, task: dict[str, Any]) -> None:
    event = {
        "specversion": "1.0",
        "id": f"{task['id']}.reply",
        "source": "bare",
        "type": "response",
        "correlationid": task["id"],
        "data": {},
    }
    if not kept:
        kept.append(DaprClient())
    await kept[0].publish_event(
        "pubsub", task["reply_to"], json.dumps(event), data_content_type="application/cloudevents+json"
    )


runtime.register_workflow(turn, name="turn")
runtime.register_activity(rest, name="rest")
runtime.register_activity(reply, name="reply")
# Made once, in the loops that use them: a client waits for the sidecar whenever one is made.
kept: list[DaprClient] = []
ready: list[DaprWorkflowClient] = []


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    # In the background, because the sidecar waits for the app's port, and the runtime for the sidecar.
    starting = asyncio.create_task(asyncio.to_thread(runtime.start))
    ready.append(DaprWorkflowClient())
    yield
    await starting
    await asyncio.to_thread(runtime.shutdown)


app = FastAPI(lifespan=lifespan)


async def take(event: Annotated[dict[str, Any], Body()]) -> dict[str, str]:
    task = {"id": event["id"], "reply_to": event["data"]["reply_to"]}
    await ready[0].schedule_new_workflow("turn", input=task, instance_id=event["id"])
    return {"status": "SUCCESS"}


DaprApp(app).subscribe(pubsub="pubsub", topic=BARE)(take)


@app.get("/healthz")
@app.get("/readyz")
async def healthy() -> dict[str, str]:
    return {"status": "ok"}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["APP_PORT"]), access_log=False, log_level="warning")
