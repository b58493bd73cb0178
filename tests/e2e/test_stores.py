"""Where state is kept is what the mode says, or nothing is begun."""

from pathlib import Path

import httpx
import pytest

from deploy.local.errors import NotReadyError
from deploy.local.runfile import load_run_file
from deploy.local.system import System
from dovecote.cli.checking import check_system
from tests.support.ports import free_ports
from tests.support.whole import CHECKOUT, whole

# The first start on a machine may have to build Dapr.
pytestmark = pytest.mark.timeout(1500)


@pytest.mark.promise("ACS-08")
def test_in_mock_mode_a_question_is_answered_from_memory_and_every_app_says_so(tmp_path: Path) -> None:
    (tmp_path / "dapr.yaml").symlink_to(CHECKOUT / "dapr.yaml")
    with whole(tmp_path, {"AGENT_COMMUNICATION_MODE": "mock"}) as running:
        assert running.ask("What is 6 * 7?")["status"] == "completed"
        system = running.system
        for app in system.apps:
            loaded = httpx.get(f"{system.sidecar_url(app)}/v1.0/metadata").json()["components"]
            types = {component["name"]: component["type"] for component in loaded}
            assert types["statestore"] == "state.in-memory"
            [note] = httpx.get(f"{system.url(app)}/readyz").json()["notes"]
            assert "it is lost with the sidecar" in note
            assert note in system.log(app)
        told = [check.text for check in check_system(tmp_path) if check.name in system.apps]
        assert told
        assert all("it is lost with the sidecar" in text for text in told)


@pytest.mark.promise("ACS-08")
def test_an_app_that_must_keep_state_elsewhere_than_its_sidecar_does_is_not_started(tmp_path: Path) -> None:
    [app] = load_run_file(CHECKOUT / "dapr.yaml").select(["directory"])
    asked = app.model_copy(update={"env": {"AGENT_COMMUNICATION_MODE": "sql"}})
    system = System(CHECKOUT, tmp_path, apps=[asked], with_model=False, restart=False)
    with pytest.raises(NotReadyError, match=r"directory ended \(exit status 2\)"), system:
        pass
    assert (tmp_path / ".dovecote/logs/directory.log").read_text().splitlines()[-1] == (
        "services.directory.main: AGENT_COMMUNICATION_MODE 'sql' asks for a state.sqlserver, and the sidecar's "
        "'statestore' is a state.redis (name components/state/sqlserver in resourcesPaths of dapr.yaml, or set "
        "STATE=sqlserver for compose, or state.name=sqlserver in the chart's values; or unset the mode)"
    )


@pytest.mark.promise("ACS-08", "ACS-09")
def test_in_sql_mode_a_database_that_is_away_stops_the_start_and_no_other_store_is_taken(tmp_path: Path) -> None:
    [port] = free_ports(1)
    env = {
        "AGENT_COMMUNICATION_MODE": "sql",
        "AZURE_SQL_SERVER": f"127.0.0.1:{port}",
        "AZURE_SQL_DATABASE": "agent-communication",
        "AZURE_SQL_USERNAME": "sqladmin",
        "AZURE_SQL_PASSWORD": "Pass;word@1",
    }
    system = System(CHECKOUT, tmp_path, apps=["directory"], with_model=False, restart=False, env=env)
    with pytest.raises(NotReadyError, match="directory-daprd ended"), system:
        pass
    said = (tmp_path / ".dovecote/logs/directory-daprd.log").read_text()
    assert "initialization error occurred for statestore (state.sqlserver/v1): failed to create db schema" in said
    assert f"unable to open tcp connection with host '127.0.0.1:{port}'" in said


@pytest.mark.promise("ACS-09")
def test_the_sidecar_takes_a_vault_by_the_documented_names(tmp_path: Path) -> None:
    env = {
        "AZURE_KEY_VAULT_URL": "https://your-vault.vault.azure.net/",
        "AZURE_TENANT_ID": "00000000-0000-4000-8000-000000000000",
        "AZURE_CLIENT_ID": "your-app-id",
        "AZURE_CLIENT_SECRET": "your-secret",
    }
    vault = [CHECKOUT / "components/keyvault"]
    with System(CHECKOUT, tmp_path, apps=["directory"], with_model=False, env=env, resources=vault) as system:
        loaded = httpx.get(f"{system.sidecar_url('directory')}/v1.0/metadata").json()["components"]
    assert ("keyvault", "secretstores.azure.keyvault") in [(one["name"], one["type"]) for one in loaded]
