"""Finds Helm, or gets it: `python -m deploy.local.helm` shows where."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import httpx

from deploy.local.archive import Artifact, fetch, platform_name
from deploy.local.cache import cache_folder, locked
from deploy.local.errors import LauncherError
from deploy.local.progress import Progress
from deploy.local.source import Target, build, module_folder, workshop
from deploy.local.versions import NotAvailableError, Range

HELM: Final = Range(preferred="3.22.0", minimum="3.14.0", below="5.0.0")
_SITE: Final = httpx.URL("https://get.helm.sh")
_MODULE: Final = "helm.sh/helm/v3"
_KUBERNETES: Final = ("1", "37")  # of the client in it, which it takes for the cluster's where it knows none
_NEEDED_BYTES: Final = 4_000_000_000
_MEND: Final = (
    "install it (https://helm.sh/docs/intro/install), or let this machine reach a Go module proxy (GOPROXY)"
)


def find_helm(progress: Progress) -> Path:
    """Where Helm lies: on the PATH, got by an earlier run, its release archive, or built from source (two minutes).

    Raises LauncherError with what was tried.
    """
    on_path = shutil.which("helm")
    folder = cache_folder().parent / "helm"
    kept = folder / HELM.preferred / "helm"
    for found in (Path(on_path) if on_path else kept, kept):
        if _fits(found):
            return found
    with locked(folder, progress, "Helm"):
        if not _fits(kept):
            _get(folder, kept, progress)
    return kept


def check(binary: Path) -> None:
    """Raise `NotAvailableError` unless the file is a Helm that fits and runs here."""
    try:
        done = subprocess.run(  # noqa: S603 - what the user installed, or we got
            [binary, "version", "--short"], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise NotAvailableError(f"{binary} does not run here ({error})") from error
    version = re.match(r"v[0-9.]+", done.stdout)
    HELM.require(str(binary), version[0] if version else done.stdout + done.stderr)


def _fits(binary: Path) -> bool:
    try:
        check(binary)
    except NotAvailableError:
        return False
    return True


def _get(folder: Path, kept: Path, progress: Progress) -> None:
    tried = []
    for get in (_download, _build):
        try:
            staged = get(folder / "staging", progress)
            check(staged)
        except (NotAvailableError, OSError) as error:
            tried.append(str(error))
            progress.note(f"Helm is not to be had so: {error}")
        else:
            kept.parent.mkdir(parents=True, exist_ok=True)
            staged.replace(kept)
            return
    raise LauncherError(f"Helm {HELM.preferred} could not be had ({'; '.join(tried)}): {_MEND}")


def _download(staging: Path, progress: Progress) -> Path:
    system = platform_name("-")
    artifact = Artifact("helm", f"helm-v{HELM.preferred}-{system}.tar.gz", folder=f"{system}/")
    fetch([artifact], staging, staging, progress, site=_SITE)
    return staging / "helm"


def _build(staging: Path, progress: Progress) -> Path:
    work = staging / "build"
    with workshop(work, progress, _NEEDED_BYTES) as go:
        target = Target(
            name="helm",
            version=HELM.preferred,
            folder=module_folder(go, _MODULE, HELM.preferred, work),
            package="./cmd/helm",
            symbols=_symbols(),
            check=check,
        )
        build(go, target, work, progress, set())
        return (work / "helm").replace(staging / "helm")


def _symbols() -> str:
    major, minor = _KUBERNETES
    given = {f"{_MODULE}/internal/version.version": f"v{HELM.preferred}"}
    for package in ("pkg/chartutil", "pkg/lint/rules"):
        given |= {f"{_MODULE}/{package}.k8sVersionMajor": major, f"{_MODULE}/{package}.k8sVersionMinor": minor}
    return " ".join(f"-X {name}={value}" for name, value in given.items())


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{find_helm(Progress())}\n")
    except LauncherError as error:
        sys.exit(str(error))
