"""A small checkout: a run file of its own, with the components of this one."""

import shutil
from pathlib import Path

import psutil
import yaml

from deploy.local.leftovers import MARKER

ROOT = Path(__file__).resolve().parents[2]


def write_checkout(folder: Path, **modules: str) -> Path:
    """Write a run file whose apps are modules, `name=module`, and which loads this checkout's components."""
    common = yaml.safe_load((ROOT / "dapr.yaml").read_text())["common"]
    common["resourcesPaths"] = [str(ROOT / path) for path in common["resourcesPaths"]]
    common["configFilePath"] = str(ROOT / common["configFilePath"])
    fields = ("appPort", "daprHTTPPort", "daprGRPCPort", "daprInternalGRPCPort", "metricsPort")
    python = str(ROOT / ".venv" / "bin" / "python")
    apps = [
        {"appID": name, "appDirPath": ".", "command": [python, "-m", module]}
        | {field: 21010 + 10 * number + place for place, field in enumerate(fields)}
        for number, (name, module) in enumerate(modules.items())
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dapr.yaml").write_text(yaml.safe_dump({"version": 1, "common": common, "apps": apps}))
    return folder


def changeable_checkout(folder: Path) -> Path:
    """Make a checkout whose components may be changed, and whose all else is this one's."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "components", folder / "components")
    for name in (".venv", "dapr.yaml", "services", "tests", "README.md"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def processes_of(home: Path) -> list[psutil.Process]:
    """Return the processes that a system in `home` has started."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
