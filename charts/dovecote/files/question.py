"""Asks a gateway one question, and fails unless an answer comes that cites a document."""

import http.client
import json
import sys
import time
from typing import Any

GATEWAY, QUESTION = sys.argv[1:]
PATIENCE = 180


def call(verb: str, path: str, body: object = None) -> Any:
    """What the gateway answers."""
    connection = http.client.HTTPConnection(GATEWAY, timeout=30)
    connection.request(verb, path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status >= http.HTTPStatus.BAD_REQUEST:
        sys.exit(f"{verb} {path}: {answer.status} {text.decode()}")
    return json.loads(text)


task = call("POST", "/tasks", {"question": QUESTION})
end = time.monotonic() + PATIENCE
while task["status"] == "running":
    if time.monotonic() > end:
        sys.exit(f"task {task['task_id']} has no answer after {PATIENCE} s")
    time.sleep(0.5)
    task = call("GET", f"/tasks/{task['task_id']}")
sys.stdout.write(json.dumps(task, indent=2, ensure_ascii=False) + "\n")
if task["status"] != "completed" or not task["answer"]["citations"]:
    sys.exit("there is no answer that cites a document")
