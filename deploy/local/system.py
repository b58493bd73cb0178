"""A whole running system: servers, apps and sidecars, as one object."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local import plan, servers, settings, stores, variables
from deploy.local.brokers import order, redis
from deploy.local.brokers.server import Server
from deploy.local.components import load_components
from deploy.local.errors import LauncherError
from deploy.local.leftovers import MARKER, end_leftovers
from deploy.local.plan import ONE_THREAD, Folders, Service
from deploy.local.ports import HOST, PortBlock, claim_block, claim_written_block, require_free
from deploy.local.progress import Progress
from deploy.local.readiness import Probe, check_probe, http_probe, wait_until_ready
from deploy.local.runfile import App, load_run_file
from deploy.local.runlock import RunLock
from deploy.local.servers import Binaries
from deploy.local.spawning import Program
from deploy.local.supervisor import NOTES, Supervisor

logger = logging.getLogger(__name__)
READY_SECONDS = 60.0
# What every app imports, and uvicorn only once it runs: the bulk of an app's start.
# None of it may start a thread, since a process with threads does not fork safely.
SHARED_MODULES = (
    "dovecote",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
)
GATEWAY = "gateway"
# The others say to the first that they end, and the second keeps that: they end after them, one after the other.
_TOLD = ("directory", "recorder")
_LAST_PORT = 65535
_SERVERS = ("placement", "scheduler", "model")
_STATE_STORE = "redis"


class System:
    """Starts and supervises the apps of `dapr.yaml` with their sidecars and servers; a context manager.

    `checkout` is the folder with `dapr.yaml` and the code, `home` the one in which `.dovecote` keeps the data
    (default: the checkout); a home runs one system at a time. `apps` are names from the run file or `App`
    objects (None: all; the same app twice: two replicas, the second called `<app-id>-2`). `broker` and `llm`
    name folders of `components/pubsub` and `components/llm`; `resources` are further folders of components.
    `env` is added to the environment of everything started, which also says where state is kept (stores).
    `brokers` are servers to start for the components that read their variables, where the launcher would start
    one of its own, or knows none. With `restart` off a process that dies stays dead. With `as_written` the ports
    are those of the run file, else they are moved to a free block.
    """

    def __init__(  # noqa: PLR0913 - each is one plain choice of the caller
        self,
        checkout: Path,
        home: Path | None = None,
        *,
        apps: Sequence[str | App] | None = None,
        broker: str | None = None,
        llm: str | None = None,
        env: Mapping[str, str] | None = None,
        resources: Sequence[Path] = (),
        brokers: Sequence[Server] = (),
        with_model: bool = True,
        restart: bool = True,
        as_written: bool = False,
        runtime: Binaries | None = None,
        progress: Progress | None = None,
    ) -> None:
        given = {**os.environ, **(env or {})}
        folders = (checkout.resolve(), (home or checkout).resolve())
        self._folders = Folders(*folders, broker, llm, stores.store_folder(given), tuple(resources))
        run_file = load_run_file(checkout / "dapr.yaml")
        self._apps = run_file.select(apps)
        # Servers without apps are for those of the run file, which somebody starts by hand.
        users = self._apps or run_file.select(None)
        self._components = load_components(
            dict.fromkeys(folder for app in users for folder in self._folders.resources(app))
        )
        self._addresses = order.addresses(self._components)
        self._azure = stores.azure_variables(self._components, given)
        self._given_env = {**given, **order.other_names(self._addresses, given), **self._azure}
        settings.require_honoured(self._components, self._given_env)
        self._with_model = with_model
        self._restart = restart
        self._as_written = as_written
        self._runtime = runtime
        self.progress = progress or Progress()
        self._marked_env = {**self._given_env, MARKER: str(self._folders.home)}
        self.env: dict[str, str] = {}
        self._lock = RunLock(self._folders.home)
        self._block: PortBlock | None = None
        self._supervisor: Supervisor | None = None
        self._services: dict[str, Service] = {}
        self._given_brokers = tuple(brokers)
        self._brokers: list[Server] = []

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything; servers answer when this returns, apps when `wait_ready` does.

        Raises a LauncherError that says why not, and then leaves nothing running.
        """
        self._lock.acquire()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        data = self._folders.data
        if ended := end_leftovers(self._folders.home, data / NOTES):
            logger.warning("ended %d processes that an earlier run left behind", ended)
        supervisor = self._supervisor = Supervisor(data, restart=self._restart)
        # First of all, because importing takes longest; what is done here is done meanwhile.
        supervisor.call(supervisor.open_forkserver(self._folders.checkout, self._marked_env, SHARED_MODULES))
        runtime = self._runtime or self._find_runtime()
        self._claim_ports()
        self._prepare_env()
        self._plan_services(runtime)
        # Rows of an earlier run would send calls to ports that are no longer its.
        for stale in data.glob("nr.db*"):
            stale.unlink()
        self._require_given()
        programs = self._servers(runtime)
        with self.progress.step(", ".join(program.name for program in programs)):
            supervisor.call(supervisor.start(programs))
            supervisor.call(wait_until_ready(self._server_probes(), supervisor.faults, READY_SECONDS))
        self._write_env()
        urls = {name: service.url for name, service in self._services.items()}
        self._lock.record(urls.get(GATEWAY), urls)
        supervisor.call(supervisor.start(self._python_and_sidecars()))

    def _python_and_sidecars(self) -> list[Program]:
        programs = [part for service in self._services.values() for part in (service.program, service.sidecar)]
        if self._with_model:
            port = servers.MODEL + self.offset
            programs.append(servers.model(self._folders.checkout, port, self.env))
        return programs

    def stop(self) -> None:
        """End everything: apps first, then sidecars, servers, and Redis last; harmless when nothing runs.

        The sidecars of apps that are to end are told before, so that they deliver no more; until the apps are gone
        they go on taking calls. Told a second time, they end at once.
        """
        if self._supervisor is not None:
            services = self._services.values()
            for group in (
                [service for service in services if service.app.app_id not in _TOLD],
                *([service for service in services if service.app.app_id == told] for told in _TOLD),
            ):
                self._supervisor.call(self._supervisor.forewarn(service.sidecar.name for service in group))
                self._supervisor.call(self._supervisor.stop(service.name for service in group))
            brokers = [broker.program.name for broker in self._brokers if broker.program.name != _STATE_STORE]
            sidecars = [service.sidecar.name for service in services]
            for names in (sidecars, [*brokers, *_SERVERS], [_STATE_STORE]):
                self._supervisor.call(self._supervisor.stop(names))
            self._supervisor.close()
            self._supervisor = None
            end_leftovers(self._folders.home, self._folders.data / NOTES)
        if self._block is not None:
            self._block.release()
            self._block = None
        self._lock.release()

    def hurry(self) -> None:
        """Make a `stop` that is under way kill everything at once; for signal handlers and other threads."""
        if self._supervisor is not None:
            self._supervisor.hurry()

    def wait_ready(self, timeout: float = READY_SECONDS) -> None:
        """Wait until servers, apps and sidecars all say that they are ready.

        Raises NotReadyError after `timeout` seconds, naming each that is not and its answer, or at once with the
        end of its log when a process cannot be kept running.
        """
        probes = self._server_probes()
        if self._with_model:
            listens = partial(servers.listens, f"{HOST}:{servers.MODEL + self.offset}")
            probes["model"] = check_probe(listens, "does not listen")
        for service in self._services.values():
            # Asked of the sidecar too: an app that says ready may not know that its sidecar is away.
            sidecar = f"{service.sidecar_url}/v1.0/healthz/outbound"
            probes[service.name] = http_probe(f"{service.url}/readyz", sidecar)
        self._supervised.call(wait_until_ready(probes, self._supervised.faults, timeout))

    @property
    def offset(self) -> int:
        """What is added to each port of the run file."""
        if self._block is None:
            raise LauncherError("the system is not started")
        return self._block.offset

    @property
    def apps(self) -> list[str]:
        """The names of the apps."""
        return list(self._services)

    def url(self, app: str = GATEWAY) -> str:
        """Return the address of an app, such as `http://127.0.0.1:21210`."""
        return self._service(app).url

    def sidecar_url(self, app: str) -> str:
        """Return the address of the HTTP API of the app's sidecar."""
        return self._service(app).sidecar_url

    def pid(self, name: str) -> int | None:
        """Return the process id of an app, a sidecar (`<app>-daprd`) or a server; None while it is dead."""
        return self._supervised.child(name).pid

    def kill(self, name: str) -> None:
        """Kill a process as a crash would; returns when it is gone. With `restart` it comes back."""
        self._supervised.call(self._supervised.child(name).kill())

    def kill_sidecar(self, app: str) -> None:
        """Kill the sidecar of an app as a crash would."""
        self.kill(self._service(app).sidecar.name)

    def halt(self, name: str) -> None:
        """End a process with SIGTERM and keep it down until `resume`."""
        self._supervised.child(name)
        self._supervised.call(self._supervised.stop([name]))

    def resume(self, name: str) -> None:
        """Start a process that was halted, or that died while `restart` is off."""
        self._supervised.call(self._supervised.child(name).start())

    def log(self, name: str) -> str:
        """Return what a process has written in this run."""
        return self._supervised.child(name).log.read_text(errors="replace")

    @property
    def env_file(self) -> Path:
        """The shell script, for the owner only, with the variables that daprd needs."""
        return self._folders.data / "env"

    def _write_env(self) -> None:
        names = {"REDIS_HOST", "REDIS_PASSWORD", "DEMO_MODEL_URL", "DAPR_HOST_IP", *self._azure}
        names |= {name for broker in self._brokers for name in broker.variables}
        # What a user has given for a broker may have been filled in, or a certificate's text put for its path.
        names |= {name for component in self._addresses.values() for name in component.variables.values()}
        told = ONE_THREAD | {name: self.env[name] for name in names & self.env.keys()}
        lines = (f"export {name}={shlex.quote(told[name])}\n" for name in sorted(told))
        servers.write_secret(self.env_file, "".join(lines))

    def _find_runtime(self) -> Binaries:
        from deploy.local.runtime import get_runtime  # noqa: PLC0415 - the fork server imports meanwhile

        self._runtime = get_runtime(self.progress)
        return self._runtime

    def _claim_ports(self) -> None:
        ports = plan.checked_ports(self._apps)
        if self._as_written:
            self._block = claim_written_block(ports)
        else:
            self._block = claim_block(self._folders.home, ports, self._folders.data / "ports.json")

    def _plan_services(self, runtime: Binaries) -> None:
        apps = self._fixed([app.shifted(self.offset) for app in self._apps])
        planned = plan.services(apps, self._folders, runtime.daprd, self.offset, self.env)
        self._services = {service.name: service for service in planned}

    def _fixed(self, apps: list[App]) -> list[App]:
        text = self.env.get("DOVECOTE_PORT")
        if text is None:
            return apps
        if not text.isdecimal() or not 0 < int(text) <= _LAST_PORT:
            raise LauncherError(f"DOVECOTE_PORT is {text!r}: it must be a port number")
        require_free(int(text), "set DOVECOTE_PORT to another one, or unset it")
        return [app.model_copy(update={"port": int(text)}) if app.app_id == GATEWAY else app for app in apps]

    def _prepare_env(self) -> None:
        data = self._folders.data
        self.env = {**self._marked_env, "DAPR_HOST_IP": HOST}
        self.env.setdefault("DOVECOTE_DATA", str(data / "data"))
        model = f"http://{HOST}:{servers.MODEL + self.offset}/v1"
        self.env["DEMO_MODEL_URL"] = model if self._with_model else self.env.get("DEMO_MODEL_URL", model)
        self._prepare_brokers()

    def _prepare_brokers(self) -> None:
        self._brokers = [_in_environment(broker, self._marked_env) for broker in self._given_brokers]
        served = {variable for broker in self._brokers for variable in broker.variables}
        if "REDIS_HOST" in self._given_env:
            self.env.setdefault("REDIS_PASSWORD", "")
        elif "REDIS_HOST" not in served:
            self._brokers.append(self._embedded_redis())
        for variable, component in self._addresses.items():
            if variable in self._given_env:
                self.env = {**order.defaults(variable), **self.env}
            elif variable not in served:
                for unused in order.unused(variable, component, self._given_env):
                    logger.warning(
                        "%s is set and not used: %s is not, and so a server is started", unused, variable
                    )
                server = order.own_server(
                    variable,
                    component,
                    self._folders.data,
                    ports=order.ports_of(variable, self.offset),
                    env=self._marked_env,
                    progress=self.progress,
                )
                self._brokers.append(server)
        for broker in self._brokers:
            self.env |= broker.variables
        self.env |= variables.certificates(self._components, self.env, self._folders.checkout)
        if self._apps:
            variables.require_set(self._components, self.env)

    def _embedded_redis(self) -> Server:
        data = self._folders.data
        password = servers.kept_password(data / "redis.password")
        return redis.plain(data, servers.REDIS + self.offset, password, self._marked_env, redis.embedded())

    def _require_given(self) -> None:
        if "REDIS_HOST" in self._given_env:
            self._supervised.call(servers.require_reachable("REDIS_HOST", self.env["REDIS_HOST"]))
        for variable, component in self._addresses.items():
            if variable in self._given_env:
                self._supervised.call(order.require_reachable(variable, self.env, component))

    def _servers(self, runtime: Binaries) -> list[Program]:
        data, offset, env = self._folders.data, self.offset, self.env
        return [
            servers.placement(runtime.placement, data, offset, env),
            servers.scheduler(runtime.scheduler, data, offset, env),
            *(broker.program for broker in self._brokers),
        ]

    def _server_probes(self) -> dict[str, Probe]:
        offset = self.offset
        probes = {
            "placement": http_probe(f"http://{HOST}:{servers.PLACEMENT_HEALTH + offset}/healthz"),
            "scheduler": http_probe(f"http://{HOST}:{servers.SCHEDULER_HEALTH + offset}/healthz"),
        }
        return probes | {broker.program.name: broker.probe for broker in self._brokers}

    @property
    def _supervised(self) -> Supervisor:
        if self._supervisor is None:
            raise LauncherError("the system is not started")
        return self._supervisor

    def _service(self, name: str) -> Service:
        if name not in self._services:
            raise LauncherError(f"there is no app {name!r}; there are: {', '.join(self._services)}")
        return self._services[name]


def _in_environment(broker: Server, env: Mapping[str, str]) -> Server:
    return replace(broker, program=replace(broker.program, env={**env, **broker.program.env}))
