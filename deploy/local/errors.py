"""What can go wrong while the system is started on this machine.

LauncherError
├── RunFileError          dapr.yaml, or what was asked of it, is wrong
├── SettingError          a setting of a component cannot be honoured
├── VariableError         a variable that a component reads is not set, or cannot be used
├── PortTakenError        a port that must be used belongs to somebody else
├── AlreadyRunningError   this folder has a running system
├── UnreachableError      a server that the environment names does not answer
├── MissingServerError    a server is not on this machine and cannot be installed
└── NotReadyError         something did not become ready in time
    └── CrashLoopError    a process cannot be kept running
"""


class LauncherError(Exception):
    """Root of the launcher's errors; its text names the cause and the mend."""


class RunFileError(LauncherError):
    """The run file, or an app or folder asked for by name, is wrong."""


class SettingError(LauncherError):
    """A component is told what it does not know, or cannot honour."""


class VariableError(LauncherError):
    """A variable that a component reads is not set, or has what cannot be used."""


class PortTakenError(LauncherError):
    """A port that must be used is taken."""


class AlreadyRunningError(LauncherError):
    """A system already runs in this folder."""


class UnreachableError(LauncherError):
    """A server that the environment names does not answer."""


class MissingServerError(LauncherError):
    """A server is not on this machine, and cannot be installed."""


class NotReadyError(LauncherError):
    """Something did not become ready in time."""


class CrashLoopError(NotReadyError):
    """A process fails again and again, which is logged when it happens, or may not be started again."""
