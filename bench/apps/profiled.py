"""Profiled: `python -m bench.apps.profiled FILE MODULE …` runs a module, and keeps a profile of it at its end.

The profile begins at SIGUSR1, so that imports are not in it, and counts processor time of the main thread, so that
waiting is not. Not `python -m cProfile`: uvicorn hands the SIGTERM that ends it on, and a process that dies of a
signal writes nothing.
"""

import cProfile
import runpy
import signal
import sys
import time
from types import FrameType


def main(file: str, module: str, arguments: list[str]) -> None:
    profile = cProfile.Profile(time.thread_time)

    def begin(_number: int, _frame: FrameType | None) -> None:
        profile.enable()

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGTERM, leave)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        profile.disable()
        profile.dump_stats(file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
