"""What processes use: processor time and memory."""

import os
from dataclasses import dataclass
from typing import Final

import psutil

from bench.systems import sidecar
from deploy.local.system import System

SERVERS: Final = ("redis", "placement", "scheduler", "model")


@dataclass(frozen=True)
class Use:
    """Processor time in seconds; resident memory in MB (10^6 bytes), whole and with what is shared by its share."""

    cpu: float = 0.0
    rss: float = 0.0
    pss: float = 0.0

    def __add__(self, other: "Use") -> "Use":
        return Use(self.cpu + other.cpu, self.rss + other.rss, self.pss + other.pss)


def pid_of(system: System, name: str) -> int:
    """The process id of an app, a sidecar or a server. Raises RuntimeError if it does not run."""
    pid = system.pid(name)
    if pid is None:
        raise RuntimeError(f"{name!r} is not running")
    return pid


def use_of(pid: int) -> Use:
    """What a process has used so far, and has in memory now."""
    process = psutil.Process(pid)
    times, memory = process.cpu_times(), process.memory_full_info()
    return Use(times.user + times.system, memory.rss / 1e6, memory.pss / 1e6)


def use_by_kind(system: System) -> dict[str, Use]:
    """What apps, sidecars and servers use, each kind summed up; the process that apps are forked from is an app."""
    apps = {pid_of(system, name) for name in system.apps}
    parents = {psutil.Process(pid).ppid() for pid in apps} - {os.getpid()}
    sidecars = {pid_of(system, sidecar(name)) for name in system.apps}
    servers = {pid_of(system, name) for name in SERVERS}
    kinds = {"apps": apps | parents, "sidecars": sidecars, "servers": servers}
    return {kind: sum(map(use_of, pids), Use()) for kind, pids in kinds.items()}
