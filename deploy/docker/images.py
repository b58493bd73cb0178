"""Which images there are, and what each is built with."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deploy.local.runfile import load_run_file

CHECKOUT: Final = Path(__file__).resolve().parents[2]
# Programs of their own beside the apps of the run file.
OTHERS: Final = ("demo-model", "zeromq-pubsub")
# Where packages come from, if pip is to look elsewhere. An address may hold a password, which no image keeps.
_PIP: Final = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST")
_AUTHORITIES: Final = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


def names() -> list[str]:
    """Return the names of all images."""
    return [*(app.app_id for app in load_run_file(CHECKOUT / "dapr.yaml").apps), *OTHERS]


def version() -> str:
    """Return the version in pyproject.toml, which is the images' tag."""
    return str(tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"])


def full_name(name: str, registry: str = "", tag: str = "") -> str:
    """Return an image's name as it is tagged; a registry is given without or with its slash."""
    prefix = f"{registry.rstrip('/')}/" if registry else ""
    return f"{prefix}dovecote/{name}:{tag or version()}"


def arguments(name: str, base_image: str = "") -> dict[str, str]:
    """Return the build arguments of an image."""
    base = {"BASE_IMAGE": base_image} if base_image else {}
    return {"SERVICE": name, **base, **{name: os.environ[name] for name in _PIP if os.environ.get(name)}}


def labels() -> dict[str, str]:
    """Return what images say of their source, beside what the Dockerfile knows."""
    said = {
        "version": version(),
        "revision": _git("rev-parse", "HEAD"),
        "source": _public(_git("remote", "get-url", "origin")),
    }
    return {f"org.opencontainers.image.{name}": text for name, text in said.items() if text}


@contextmanager
def context(env: Mapping[str, str] = os.environ) -> Iterator[Path]:
    """A folder with what builds read, and the authorities that this machine trusts."""
    lines = (CHECKOUT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory(prefix="dovecote-images-") as name:
        folder = Path(name)
        for path in (line[1:] for line in lines if line.startswith("!")):
            source, target = CHECKOUT / path, folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, target)
        authorities = next((env[name] for name in _AUTHORITIES if env.get(name)), None)
        if authorities:
            shutil.copyfile(authorities, folder / "deploy/docker/certificates/machine.crt")
        yield folder


def _git(*arguments: str) -> str:
    """What git says, or nothing where there is none."""
    git = shutil.which("git")
    if git is None:
        return ""
    command = (git, *arguments)
    done = subprocess.run(command, cwd=CHECKOUT, check=False, capture_output=True, text=True)  # noqa: S603 - git
    return done.stdout.strip() if done.returncode == 0 else ""


def _public(address: str) -> str:
    """The address of a repository, if others can read it and it holds no login."""
    return address if address.startswith("https://") and "@" not in address else ""
