"""kubectl and helm, as the tests run them."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

CHECKOUT: Final = Path(__file__).resolve().parents[2]


class CommandError(AssertionError):
    """A command that did not end well; its text has what the command said."""


def run(*command: str, text: str | None = None, seconds: float = 120, env: dict[str, str] | None = None) -> str:
    """What a command prints; `text` is its input. CommandError with its words if it fails or lasts longer."""
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            env=os.environ | (env or {}),
            cwd=CHECKOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{' '.join(command)}: not done in {seconds:g} s") from error
    if done.returncode:
        raise CommandError(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Namespace:
    """One namespace of the cluster."""

    def __init__(self, name: str) -> None:
        self.name = name

    def kubectl(self, *arguments: str, text: str | None = None, seconds: float = 120) -> str:
        """What kubectl prints."""
        return run("kubectl", "--namespace", self.name, *arguments, text=text, seconds=seconds)

    def helm(self, *arguments: str, seconds: float = 600) -> str:
        """What helm prints."""
        return run("helm", "--namespace", self.name, *arguments, seconds=seconds)

    def create(self) -> None:
        """Make it, with the strictest rules for pods."""
        run("kubectl", "create", "namespace", self.name)
        rule = "pod-security.kubernetes.io/enforce=restricted"
        run("kubectl", "label", "namespace", self.name, rule)

    def delete(self) -> None:
        """Delete it and all that is in it, and wait for that."""
        run("kubectl", "delete", "namespace", self.name, "--timeout=180s", seconds=190)

    def get(self, *what: str) -> list[dict[str, Any]]:
        """The objects of a kind, or those that a selector names."""
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", *what, "--output", "json"))["items"]
        return items

    def rolled_out(self, *names: str, seconds: int = 300) -> None:
        """Return when all pods of these deployments or stateful sets are of the last version, and ready."""
        for name in names:
            self.kubectl("rollout", "status", name, f"--timeout={seconds}s", seconds=seconds + 10)

    def executed(self, pod: str, *command: str, container: str | None = None, seconds: float = 60) -> str:
        """What a command prints that runs in a container of a pod."""
        chosen = ["--container", container] if container else []
        return self.kubectl("exec", pod, *chosen, "--", *command, seconds=seconds)
