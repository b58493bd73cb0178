"""`python -m deploy.docker` builds the services' images with whichever builder is here."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from deploy.docker import images
from deploy.docker.builder import BuilderError, find_builder
from deploy.local.progress import Progress

_AT_ONCE: Final = 2


def main(given: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status."""
    options = _parser().parse_args(given)
    progress = Progress()
    try:
        _build(options, progress)
    except BuilderError as error:
        progress.note(f"error: {error}")
        return 1
    return 0


def _build(options: argparse.Namespace, progress: Progress) -> None:
    chosen = options.service or images.names()
    builder = find_builder()
    tags = {name: images.full_name(name, options.registry, options.tag) for name in chosen}
    labels = [f"--label={name}={text}" for name, text in images.labels().items()]
    with images.context() as folder, ThreadPoolExecutor(_AT_ONCE) as pool:

        def build(name: str) -> None:
            arguments = images.arguments(name, options.base_image).items()
            told = [f"--build-arg={argument}={text}" for argument, text in arguments]
            builder.build(folder, tags[name], [*told, *labels, *shlex.split(options.options)], progress)

        # What the first has made for all is not made again.
        build(chosen[0])
        list(pool.map(build, chosen[1:]))
    progress.note(f"built with {builder.name}: {', '.join(tags.values())}")
    if options.save:
        builder.save([*tags.values()], options.save, progress)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.docker", description=__doc__)
    known = images.names()
    parser.add_argument("service", nargs="*", choices=[[], *known], help=f"default: all of {', '.join(known)}")
    parser.add_argument("--registry", default="", help="prefix of the names, such as ghcr.io/somebody")
    parser.add_argument("--tag", default="", help="default: the version in pyproject.toml")
    parser.add_argument("--base-image", default="", help="with Python 3.11 or later (default: the official one)")
    parser.add_argument(
        "--save", type=Path, metavar="FILE", help="save all as one archive, to load without a registry"
    )
    parser.add_argument("--options", default="", help="further options of the builder, such as --network=host")
    return parser


if __name__ == "__main__":
    sys.exit(main())
