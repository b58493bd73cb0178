"""What the fake go command does; its first argument is the folder with its plan, the rest are go's."""

import json
import os
import shutil
import sys
import time
from pathlib import Path

FOLDER, VERB, ARGUMENTS = Path(sys.argv[1]), sys.argv[2], sys.argv[2:]
PLAN = json.loads((FOLDER / "plan.json").read_text())


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def give_up(reason: str) -> None:
    say(reason)
    sys.exit(1)


def download() -> None:
    if "module" in PLAN["fail"]:
        give_up(PLAN["fail"]["module"])
    folder = Path(os.environ["GOMODCACHE"]) / ARGUMENTS[-1].partition("@")[0]
    folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(json.dumps({"Dir": str(folder)}))


def list_packages() -> None:
    say("go: downloading example.org/module v1.2.3")
    sys.stdout.write("fmt\nos\n" + package() + "\n")


def build() -> None:
    output = Path(ARGUMENTS[-2])
    for line in ("fmt", "os", package()):
        say(line)
    if output.name in PLAN["hang"]:
        (Path(os.environ["GOTMPDIR"]) / "half").write_text("half")
        Path(PLAN["hang"][output.name]).write_text("hanging")  # a FIFO: somebody waits for this
        time.sleep(3600)
    if output.name in PLAN["fail"]:
        give_up(PLAN["fail"][output.name])
    (Path(os.environ["GOCACHE"]) / output.name).write_text("compiled")
    shutil.copy(FOLDER / "programs" / output.name, output)


def package() -> str:
    return ARGUMENTS[-1].replace("./", "github.com/dapr/dapr/")


with (FOLDER / "journal").open("a") as journal:
    journal.write(json.dumps({"arguments": ARGUMENTS, "environment": dict(os.environ)}) + "\n")
if VERB == "version":
    sys.stdout.write(f"go version {PLAN['version']} linux/amd64\n")
else:
    {"mod": download, "list": list_packages, "build": build}[VERB]()
