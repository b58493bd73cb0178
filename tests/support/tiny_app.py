"""The smallest app that the launcher can run: healthy, ready, and with an environment to look at."""

import os

import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.get("/healthz")
async def healthz() -> str:
    return "healthy"


@app.get("/readyz")
async def readyz() -> str:
    return "ready"


@app.get("/environment/{name}")
async def environment(name: str) -> str | None:
    return os.environ.get(name)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["APP_PORT"]), log_level="warning")
