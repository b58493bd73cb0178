"""What the launcher makes of a pub/sub component that is a program of its own."""

from pathlib import Path

from deploy.local import pluggable
from deploy.local.plan import Folders, services
from deploy.local.runfile import load_run_file
from deploy.local.spawning import Program

CHECKOUT = Path(__file__).resolve().parents[2]
SIDECAR = Program("writer-daprd", ("daprd", "--app-id=writer"), Path("/home"), {"PATH": "/bin"})


def socket_of(program: Program) -> Path:
    return next(Path(word) for word in program.command if word.endswith(".sock"))


def test_each_sidecar_gets_a_component_with_a_socket_folder_of_its_own(tmp_path: Path) -> None:
    apps = load_run_file(CHECKOUT / "dapr.yaml").select(["researcher", "writer", "writer"])
    planned = services(apps, Folders(CHECKOUT, tmp_path, broker="zeromq"), Path("daprd"), 0, {})
    sockets = [socket_of(service.sidecar) for service in planned]
    assert len({socket.parent for socket in sockets}) == 3
    for service, socket in zip(planned, sockets, strict=True):
        assert socket.name == "zeromq.sock"
        assert service.sidecar.env["DAPR_COMPONENTS_SOCKETS_FOLDER"] == str(socket.parent)


def test_the_component_starts_the_sidecar_as_it_would_be_started_alone(tmp_path: Path) -> None:
    program = pluggable.with_component(SIDECAR, tmp_path)
    assert program.command[-2:] == SIDECAR.command
    assert program.command.index("component") < program.command.index("daprd")
    assert "--directory=/home" in program.command
    assert (program.name, program.stop_seconds) == (SIDECAR.name, SIDECAR.stop_seconds)


def test_a_sidecar_of_another_broker_is_started_alone(tmp_path: Path) -> None:
    apps = load_run_file(CHECKOUT / "dapr.yaml").select(["writer"])
    [service] = services(apps, Folders(CHECKOUT, tmp_path), Path("daprd"), 0, {})
    assert service.sidecar.command[0] == "daprd"


def test_a_socket_in_a_deep_folder_is_where_the_kernel_takes_its_path(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 30)
    sockets = {
        socket_of(pluggable.with_component(sidecar, deep))
        for sidecar in (SIDECAR, Program("reviewer-daprd", (), Path("/"), {}))
    }
    assert len(sockets) == 2
    assert max(len(str(socket)) for socket in sockets) <= 103
