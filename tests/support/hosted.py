"""Runs the whole system in a process of its own, so that a test can kill its launcher: HOME READY-FILE."""

import sys
import threading
from pathlib import Path

from deploy.local.system import System
from tests.support.whole import CHECKOUT, whole_apps

if __name__ == "__main__":
    home, ready = Path(sys.argv[1]), Path(sys.argv[2])
    with System(CHECKOUT, home, apps=whole_apps(), with_model=False) as system:
        ready.write_text(system.url())
        threading.Event().wait()
