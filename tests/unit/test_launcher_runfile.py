"""What the launcher reads from a run file, and what it makes of it."""

from pathlib import Path

import pytest
import yaml

from deploy.local.errors import RunFileError
from deploy.local.plan import Folders, checked_ports, services
from deploy.local.ports import FIRST, LAST, WIDTH
from deploy.local.runfile import App, component_folders, load_run_file, sidecar_flags

CHECKOUT = Path(__file__).resolve().parents[2]


def write_run_file(folder: Path, **changes: object) -> Path:
    content = {"version": 1, "apps": [{"appID": "echo", "appDirPath": ".", "command": ["true"]}], **changes}
    path = folder / "dapr.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_checked_in_run_file_uses_each_port_once_and_none_from_the_ephemeral_range() -> None:
    apps = load_run_file(CHECKOUT / "dapr.yaml").select(None)
    ports = checked_ports(apps)
    assert len(ports) == len(set(ports))
    assert max(ports) <= LAST
    assert apps[0].app_id == "gateway"


def test_an_unknown_key_is_named_with_its_file_and_place(tmp_path: Path) -> None:
    path = write_run_file(tmp_path, common={"resourcePath": "./components"})
    with pytest.raises(RunFileError, match=r"dapr\.yaml: common\.resourcePath: Extra inputs"):
        load_run_file(path)


def test_a_file_that_is_not_yaml_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "dapr.yaml"
    path.write_text("apps: [\n")
    with pytest.raises(RunFileError, match=r"(?s)not YAML.*line 2"):
        load_run_file(path)


def test_a_missing_run_file_says_where_to_start_from(tmp_path: Path) -> None:
    with pytest.raises(RunFileError, match=r"does not exist: start from the folder"):
        load_run_file(tmp_path / "dapr.yaml")


def test_an_unknown_app_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    run_file = load_run_file(write_run_file(tmp_path))
    with pytest.raises(RunFileError, match=r"no app 'eko'; it has echo"):
        run_file.select(["eko"])


def test_what_is_common_reaches_every_app_and_an_app_overrides_it(tmp_path: Path) -> None:
    apps = [
        {"appID": "one", "command": ["true"]},
        {"appID": "two", "command": ["true"], "maxBodySize": "1Mi"},
    ]
    run_file = load_run_file(write_run_file(tmp_path, common={"maxBodySize": "16Mi"}, apps=apps))
    assert [app.max_body_size for app in run_file.select(None)] == ["16Mi", "1Mi"]


def test_an_app_without_ports_gets_free_ones_behind_those_of_the_file() -> None:
    run_file = load_run_file(CHECKOUT / "dapr.yaml")
    added = App(app_id="added", command=("true",))
    placed = run_file.select(["gateway", added, added])
    checked_ports(placed)
    assert min(placed[1].ports) > max(port for app in run_file.apps for port in app.ports)


def test_a_port_that_is_used_twice_is_refused() -> None:
    app = App(
        app_id="a",
        command=("true",),
        port=FIRST + 50,
        http_port=FIRST + 50,
        grpc_port=FIRST + 51,
        internal_grpc_port=FIRST + 52,
        metrics_port=FIRST + 53,
    )
    with pytest.raises(RunFileError, match=f"port {FIRST + 50} is used 2 times"):
        checked_ports([app])


def test_a_port_outside_the_block_is_refused() -> None:
    app = App(app_id="a", command=("true",), port=FIRST + WIDTH)
    with pytest.raises(RunFileError, match=f"port {FIRST + WIDTH}: choose one from"):
        checked_ports([app])


def test_the_fields_of_an_app_become_the_flags_of_its_sidecar() -> None:
    app = App(app_id="echo", command=("true",), port=21010, health_check=True, health_interval=3)
    flags = sidecar_flags(app)
    assert "--app-id=echo" in flags
    assert "--app-port=21010" in flags
    assert "--enable-app-health-check=true" in flags
    assert "--app-health-probe-interval=3" in flags
    assert not [flag for flag in flags if "max-body-size" in flag]


def test_another_broker_replaces_the_folder_of_the_run_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "components" / "pubsub" / name).mkdir(parents=True)
    paths = ["./components/pubsub/one"]
    assert component_folders(paths, tmp_path, {"pubsub": "two"}) == [tmp_path / "components" / "pubsub" / "two"]
    assert component_folders(paths, tmp_path, {"pubsub": None}) == [tmp_path / "components" / "pubsub" / "one"]


def test_an_unknown_broker_is_refused_with_the_folders_there_are(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "components" / "pubsub" / name).mkdir(parents=True)
    with pytest.raises(RunFileError, match=r"no 'three' in .*; there are: one, two"):
        component_folders(["./components/pubsub/one"], tmp_path, {"pubsub": "three"})


def test_the_same_app_twice_is_two_replicas_with_their_own_ports(tmp_path: Path) -> None:
    app = App(app_id="echo", command=("true",))
    apps = load_run_file(CHECKOUT / "dapr.yaml").select([app, app])
    first, second = services(apps, Folders(CHECKOUT, tmp_path), Path("daprd"), 0, {})
    assert (first.name, second.name, second.sidecar.name) == ("echo", "echo-2", "echo-2-daprd")
    assert "--app-id=echo" in second.sidecar.command
    assert first.url != second.url


def test_an_app_is_told_its_ports_and_a_sidecar_meets_the_moved_servers(tmp_path: Path) -> None:
    apps = [app.shifted(400) for app in load_run_file(CHECKOUT / "dapr.yaml").select(["gateway"])]
    (gateway,) = services(apps, Folders(CHECKOUT, tmp_path), Path("daprd"), 400, {"KEY": "value"})
    env = gateway.program.env
    assert (env["APP_PORT"], env["DAPR_HTTP_PORT"], env["DAPR_GRPC_PORT"]) == ("21410", "21411", "21412")
    assert gateway.sidecar.env == {"KEY": "value", "GOMAXPROCS": "1"}
    assert "--placement-host-address=127.0.0.1:21402" in gateway.sidecar.command
    assert "--scheduler-host-address=127.0.0.1:21403" in gateway.sidecar.command
