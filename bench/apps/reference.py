"""The reference: Dapr's FastAPI extension as its documentation shows it, with no Dovecote in it."""

import asyncio
import os
from typing import Annotated, Any

import uvicorn
from dapr.ext.fastapi import DaprApp
from fastapi import Body, FastAPI

from bench.agreed import PLAIN, WAIT_SECONDS, WAITING_PLAIN
from bench.apps.tally import Tallies

app = FastAPI()
dapr_app = DaprApp(app)
tallies = Tallies()
tallies.add_routes(app.router)


async def take(event: Annotated[dict[str, Any], Body()]) -> dict[str, str]:
    await tallies[PLAIN].add(event["data"])
    return {"status": "SUCCESS"}


async def wait(event: Annotated[dict[str, Any], Body()]) -> dict[str, str]:
    await asyncio.sleep(WAIT_SECONDS)
    await tallies[WAITING_PLAIN].add(event["data"])
    return {"status": "SUCCESS"}


# Called as functions, which is what decorators are: DaprApp's have no types.
dapr_app.subscribe(pubsub="pubsub", topic=PLAIN)(take)
dapr_app.subscribe(pubsub="pubsub", topic=WAITING_PLAIN)(wait)


@app.get("/healthz")
@app.get("/readyz")
async def healthy() -> dict[str, str]:
    return {"status": "ok"}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["APP_PORT"]), access_log=False, log_level="warning")
