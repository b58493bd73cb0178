"""Dapr's own chart, with its resource definitions: `python -m deploy.local.dapr_chart` shows where it lies."""

import re
import shutil
import sys
from pathlib import Path

from deploy.local.cache import cache_folder, locked
from deploy.local.errors import LauncherError
from deploy.local.progress import Progress
from deploy.local.source import DAPR_MODULE, module_folder, workshop
from deploy.local.versions import SOURCE_VERSION, NotAvailableError

_NEEDED_BYTES = 1_000_000_000


def find_dapr_chart(progress: Progress) -> Path:
    """The folder of the chart, fetched once for each user through the Go module proxy, with its version written in.

    Raises LauncherError if it cannot be had.
    """
    folder = cache_folder().parent / "dapr-chart"
    chart = folder / SOURCE_VERSION
    with locked(folder, progress, "Dapr's chart"):
        if not chart.exists():
            try:
                _fetch(chart, folder / "staging", progress)
            except NotAvailableError as error:
                raise LauncherError(
                    f"the chart of Dapr {SOURCE_VERSION} cannot be had ({error}): "
                    "let this machine reach a Go module proxy (GOPROXY)"
                ) from error
    return chart


def _fetch(chart: Path, staging: Path, progress: Progress) -> None:
    staged = chart.with_suffix(".partial")
    shutil.rmtree(staged, ignore_errors=True)
    with workshop(staging, progress, _NEEDED_BYTES) as go, progress.step("Fetching Dapr's chart"):
        shutil.copytree(module_folder(go, DAPR_MODULE, SOURCE_VERSION, staging) / "charts" / "dapr", staged)
    # The sources have 0.0.0 and "edge", which a release replaces.
    for file in staged.rglob("Chart.yaml"):
        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub(r"'?0\.0\.0'?", f'"{SOURCE_VERSION}"', text), encoding="utf-8")
    values = staged / "values.yaml"
    text = values.read_text(encoding="utf-8")
    values.write_text(re.sub(r"(?m)^(  tag:) .*$", rf'\1 "{SOURCE_VERSION}"', text, count=1), encoding="utf-8")
    staged.replace(chart)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{find_dapr_chart(Progress())}\n")
    except LauncherError as error:
        sys.exit(str(error))
