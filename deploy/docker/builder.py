"""The builder of images that this machine has."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.commands import failure
from deploy.local.progress import Progress


class BuilderError(Exception):
    """An image cannot be built; its text names the cause."""


@dataclass(frozen=True)
class Builder:
    """A program that builds images: the commands to build one and to save several as one file."""

    name: str
    build_command: Sequence[str]
    save_command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)

    def build(self, context: Path, tag: str, options: Sequence[str], progress: Progress) -> None:
        """Build an image with the Dockerfile in `context`. Raises BuilderError with the builder's last words."""
        dockerfile = f"--file={context / 'deploy/docker/Dockerfile'}"
        command = [*self.build_command, dockerfile, f"--tag={tag}", *options, str(context)]
        self._run(f"Building {tag}", command, progress)

    def save(self, tags: Sequence[str], file: Path, progress: Progress) -> None:
        """Save images as one archive, which another engine can load. Raises BuilderError."""
        self._run(f"Saving {file}", [*self.save_command, f"--output={file}", *tags], progress)

    def _run(self, title: str, command: Sequence[str], progress: Progress) -> None:
        with progress.step(title) as step:
            words = failure(command, step, self.env)
        if words is not None:
            raise BuilderError(f"{title}: {self.name} fails:\n{words}")


_SAVE = ("docker", "save")
_BUILDERS = {
    ("docker", "buildx", "inspect"): Builder("docker buildx", ("docker", "buildx", "build", "--load"), _SAVE),
    # The older builder, where the newer one is not installed.
    ("docker", "info"): Builder("docker", ("docker", "build"), _SAVE, {"DOCKER_BUILDKIT": "0"}),
    # Its own format of images has no healthchecks.
    ("podman", "info"): Builder(
        "podman", ("podman", "build", "--format=docker"), ("podman", "save", "--multi-image-archive")
    ),
}


def find_builder() -> Builder:
    """Return the first builder that is ready on this machine: docker buildx, docker, podman.

    Raises BuilderError with what each of them says.
    """
    said = []
    for asking, builder in _BUILDERS.items():
        try:
            done = subprocess.run(asking, check=False, capture_output=True, text=True, timeout=60)  # noqa: S603 - as above
        except (OSError, subprocess.TimeoutExpired) as error:
            said.append(f"{builder.name}: {error}")
            continue
        if done.returncode == 0:
            return builder
        said.append(f"{builder.name}: {' '.join(done.stderr.split())[-200:]}")
    raise BuilderError("nothing here builds images: install docker or podman, and start it\n" + "\n".join(said))
