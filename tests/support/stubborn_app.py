"""An app that is ready at once and never ends by itself."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI


@asynccontextmanager
async def endless(_app: FastAPI) -> AsyncIterator[None]:
    yield
    await asyncio.Event().wait()


app = FastAPI(lifespan=endless)


@app.get("/healthz")
@app.get("/readyz")
async def fine() -> str:
    return "fine"


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["APP_PORT"]), log_level="warning")
