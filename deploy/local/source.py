"""Dapr built from its sources, as the Go module proxy serves them."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

from deploy.local.go_toolchain import DOWNLOADING, Go, find_go
from deploy.local.progress import Progress
from deploy.local.versions import BINARIES, CLI, SOURCE_VERSION, NotAvailableError, verify

NEEDED_BYTES = 10_000_000_000
DAPR_MODULE = "github.com/dapr/dapr"
_CLI_MODULE = Path(__file__).with_name("dapr-cli")
# The linker drops it anyway (-s -w); not making it first saves a fifth of the time and of the build cache.
_NO_DEBUG_DATA = "-gcflags=all=-dwarf=false"
_REMOVAL_ATTEMPTS = 5


@dataclass(frozen=True)
class GoCaches:
    """Where Go keeps downloaded modules and compiled packages."""

    modules: Path
    builds: Path


@dataclass(frozen=True)
class Target:
    """A program to build: the package in a module's folder, with symbols that say its version.

    `check` raises NotAvailableError unless what was built is the program in that version.
    """

    name: str
    version: str
    folder: Path
    package: str
    symbols: str
    check: Callable[[Path], None]
    tags: str = ""


def build_from_source(into: Path, work: Path, progress: Progress, caches: GoCaches | None = None) -> None:
    """Build every binary that the folder `into` does not have yet.

    All that is only needed meanwhile, about 9 GB, lies in `work`, which is removed however this ends, except by
    SIGKILL; the next call goes on with what is left then. Finished binaries stay in `into`. `caches` are existing
    Go caches, which are used and kept. Raises `NotAvailableError` if there is not enough space, no Go toolchain or
    no way to the module proxy, or if a build fails.
    """
    into.mkdir(parents=True, exist_ok=True)
    missing = [name for name in BINARIES if not _is_finished(into / name)]
    with workshop(work, progress, NEEDED_BYTES, caches) as go:
        built: set[str] = set()
        for name in missing:
            target = _cli(work) if name == "dapr" else _dapr(go, name, work)
            build(go, target, work, progress, built)
            (work / name).replace(into / name)


@contextmanager
def workshop(work: Path, progress: Progress, needed: int, caches: GoCaches | None = None) -> Iterator[Go]:
    """Go with all that it keeps in the folder `work`, which is removed however this ends, except by SIGKILL.

    Raises `NotAvailableError` if less than `needed` bytes are free there, or there is no Go toolchain.
    """
    with _termination_unwinds(), _removed_afterwards(work, progress):
        _require_space(work, needed)
        yield Go(find_go(work, progress), _environment(work, caches or GoCaches(work / "modules", work / "builds")))


def module_folder(go: Go, module: str, version: str, work: Path) -> Path:
    """Where the sources of a module lie, fetched if need be."""
    answer = go.run("mod", "download", "-json", f"{module}@v{version}", folder=work)
    return Path(json.loads(answer)["Dir"])


def _check(name: str, binary: Path) -> None:
    verify(name, binary, _version(name))


def _is_finished(binary: Path) -> bool:
    try:
        _check(binary.name, binary)
    except NotAvailableError:
        return False
    return True


def _version(name: str) -> str:
    return CLI.preferred if name == "dapr" else SOURCE_VERSION


def _dapr(go: Go, name: str, work: Path) -> Target:
    # `go install` refuses modules with replace directives; inside the module's own folder its go.sum holds.
    version = f"-X {DAPR_MODULE}/pkg/buildinfo.version={SOURCE_VERSION}"
    return Target(
        name=name,
        version=_version(name),
        folder=module_folder(go, DAPR_MODULE, SOURCE_VERSION, work),
        package=f"./cmd/{name}",
        check=partial(_check, name),
        symbols=f"{version} -X github.com/dapr/kit/logger.DaprVersion={SOURCE_VERSION}",
        tags="allcomponents" if name == "daprd" else "",
    )


def _cli(work: Path) -> Target:
    # Of the CLI's own choice of modules one is not served; this module of ours replaces that choice.
    folder = work / "dapr-cli"
    shutil.copytree(_CLI_MODULE, folder, dirs_exist_ok=True)
    return Target(
        name="dapr",
        version=_version("dapr"),
        folder=folder,
        package="github.com/dapr/cli",
        check=partial(_check, "dapr"),
        symbols=f"-X main.version={CLI.preferred} -X main.apiVersion=1.0",
    )


def build(go: Go, target: Target, work: Path, progress: Progress, built: set[str]) -> None:
    """Build a program into the folder `work`; what is compiled is added to `built`, and not compiled again."""
    options = ["-tags", target.tags] if target.tags else []
    with progress.step(f"Fetching the sources of {target.name} {target.version}") as step:
        modules: set[str] = set()

        def downloading(line: str) -> None:
            if line.startswith(DOWNLOADING):
                modules.add(line)
                step.update(len(modules), detail="modules")

        listing = go.run("list", "-deps", *options, target.package, folder=target.folder, each_line=downloading)
        packages = set(listing.split())
    with progress.step(f"Building {target.name} {target.version} from source") as step:
        todo = packages - built
        compiled: set[str] = set()
        step.update(0, len(todo), "packages")

        def compiling(line: str) -> None:
            if line in todo:
                compiled.add(line)
                step.update(len(compiled), detail="packages, linking" if len(compiled) == len(todo) else None)

        go.run(
            *("build", "-v", "-trimpath", *options, _NO_DEBUG_DATA),
            *("-ldflags", f"-s -w {target.symbols}", "-o", str(work / target.name), target.package),
            folder=target.folder,
            each_line=compiling,
        )
        target.check(work / target.name)
    built |= packages


def _environment(work: Path, caches: GoCaches) -> dict[str, str]:
    for folder in (work / "tmp", caches.modules, caches.builds):
        folder.mkdir(parents=True, exist_ok=True)
    own = {
        "GOMODCACHE": str(caches.modules),
        "GOCACHE": str(caches.builds),
        "GOTMPDIR": str(work / "tmp"),
        "GOFLAGS": "-modcacherw -buildvcs=false",  # read-only modules could not be removed afterwards
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GO111MODULE": "on",
        "CGO_ENABLED": "0",
    }
    foreign = {"GOROOT", "GOOS", "GOARCH", "GOBIN"}
    return {name: value for name, value in os.environ.items() if name not in foreign} | own


def _require_space(work: Path, needed: int) -> None:
    used = sum(file.lstat().st_size for file in work.rglob("*"))
    free = shutil.disk_usage(work).free
    if free + used < needed:
        need = f"{needed / 1e9:.0f} GB in {work} while it lasts"
        raise NotAvailableError(f"building needs {need}, but only {free / 1e9:.1f} GB are free")


@contextmanager
def _removed_afterwards(work: Path, progress: Progress) -> Iterator[None]:
    work.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with progress.step("Removing what only the build needed"):
            _remove(work)


def _remove(work: Path) -> None:
    # A compiler that was killed with the rest may need a moment longer and write one more file meanwhile.
    for _ in range(_REMOVAL_ATTEMPTS):
        try:
            shutil.rmtree(work)
        except OSError:
            time.sleep(0.2)
        else:
            return
    shutil.rmtree(work)


@contextmanager
def _termination_unwinds() -> Iterator[None]:
    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    untouched = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    ours = untouched if threading.current_thread() is threading.main_thread() else []
    for number in ours:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
