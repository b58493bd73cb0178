"""Runs a sample in memory: `python -m services.samples NAME`; the same apps run on any broker."""

import asyncio
import importlib
import pkgutil
import sys

import services.samples
from dovecote.settings import Settings
from dovecote.testing import Network
from services.directory.main import app as directory
from services.recorder.main import app as recorder


async def run(name: str) -> list[str]:
    """What the sample of that name shows, line by line."""
    sample = importlib.import_module(f"services.samples.{name}")
    # Some samples want what on a real system is in the environment, and in the components for secrets and keys.
    given = {what: vars(sample).get(what) for what in ("secrets", "keys")}
    settings = Settings(**vars(sample).get("settings", {}))
    async with Network([directory, recorder, *sample.apps], settings=settings, **given) as net:
        lines: list[str] = await sample.show(net)
    return lines


def names() -> list[str]:
    """The samples that there are."""
    found = (module.name for module in pkgutil.iter_modules(services.samples.__path__))
    return sorted(name for name in found if not name.startswith("_"))


def main(arguments: list[str]) -> int:
    """Run one; 2 if there is none of that name."""
    if len(arguments) != 1 or arguments[0] not in names():
        sys.stderr.write(f"usage: python -m services.samples NAME, where NAME is one of: {', '.join(names())}\n")
        return 2
    sys.stdout.write("\n".join(asyncio.run(run(arguments[0]))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
