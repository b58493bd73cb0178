"""Where state and secrets are kept on Azure, by the names that the agent communication system documents."""

import os
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from deploy.local import settings
from deploy.local.components import Component, load_components
from deploy.local.errors import SettingError, VariableError
from deploy.local.stores import azure_variables, store_folder
from deploy.local.system import System

CHECKOUT = Path(__file__).resolve().parents[2]
COMPONENTS = CHECKOUT / "components"
SQL = {
    "AZURE_SQL_SERVER": "birds.database.windows.net",
    "AZURE_SQL_DATABASE": "agent-communication",
    "AZURE_SQL_USERNAME": "sqladmin",
    "AZURE_SQL_PASSWORD": "Pass;word/1@2#3%4 {x}",
}
VAULT = {
    "AZURE_KEY_VAULT_URL": "https://your-vault.vault.azure.net/",
    "AZURE_CLIENT_ID": "your-app-id",
    "AZURE_CLIENT_SECRET": "your-secret",
    "AZURE_TENANT_ID": "your-tenant-id",
}


@pytest.fixture(autouse=True)
def no_name_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("AZURE_", "AGENT_", "DOVECOTE_STATE"))]:
        monkeypatch.delenv(name)


def components(folder: str) -> list[Component]:
    return load_components([COMPONENTS / folder])


def made(folder: str, **env: str) -> dict[str, str]:
    return azure_variables(components(folder), env)


@pytest.mark.promise("ACS-08", "ACS-09")
@pytest.mark.parametrize("name", ["AGENT_COMMUNICATION_MODE", "DOVECOTE_STATE_MODE"])
def test_the_mode_chooses_the_folder_and_nothing_said_leaves_the_run_files(name: str) -> None:
    assert store_folder({name: "sql"}) == "sqlserver"
    assert store_folder({name: "mock"}) == "in-memory"
    assert store_folder({name: ""}) is None
    assert store_folder({}) is None
    with pytest.raises(VariableError, match=f"{name} is 'none': it is 'sql' or 'mock'"):
        store_folder({name: "none"})


@pytest.mark.promise("ACS-09")
def test_the_connection_string_says_each_part_and_that_the_server_is_verified() -> None:
    for component in components("state/sqlserver"):
        [variable] = component.variables.values()
        parts = urlsplit(made("state/sqlserver", **SQL)[variable])
        assert (parts.scheme, parts.hostname, parts.port) == ("sqlserver", SQL["AZURE_SQL_SERVER"], 1433)
        assert unquote(parts.username or "") == SQL["AZURE_SQL_USERNAME"]
        assert unquote(parts.password or "") == SQL["AZURE_SQL_PASSWORD"]
        assert parse_qs(parts.query) == {
            "database": [SQL["AZURE_SQL_DATABASE"]],
            "encrypt": ["true"],
            "TrustServerCertificate": ["false"],
        }


@pytest.mark.promise("ACS-09")
@pytest.mark.parametrize(
    ("server", "place"),
    [("tcp:a.example,1433", "a.example:1433"), ("a.example:2000", "a.example:2000"), ("a", "a:1433")],
)
def test_a_server_is_a_host_with_or_without_a_port(server: str, place: str) -> None:
    text = made("state/sqlserver", **{**SQL, "AZURE_SQL_SERVER": server})["AZURE_SQL_CONNECTION_STRING"]
    assert urlsplit(text).netloc.rpartition("@")[2] == place


@pytest.mark.promise("ACS-08")
def test_sql_mode_without_its_variables_stops_the_start_with_their_names(tmp_path: Path) -> None:
    env = {"AGENT_COMMUNICATION_MODE": "sql", "AZURE_SQL_SERVER": "a.example", "AZURE_SQL_PASSWORD": ""}
    names = "AZURE_SQL_DATABASE, AZURE_SQL_USERNAME, AZURE_SQL_PASSWORD: set each"
    with pytest.raises(VariableError, match=rf"components/state/sqlserver/statestore.yaml .* not set is {names}"):
        System(CHECKOUT, tmp_path, env=env)


@pytest.mark.promise("ACS-09")
@pytest.mark.parametrize(
    ("folder", "env", "said"),
    [
        ("state/sqlserver", {**SQL, "AZURE_SQL_CONNECTION_STRING": "x"}, "AZURE_SQL_SERVER both say where"),
        (
            "state/sqlserver",
            {**SQL, "AZURE_SQL_SERVER": "http://a"},
            "AZURE_SQL_SERVER is 'http://a': it must be a",
        ),
        ("keyvault", {}, "reads a vault of Azure: set AZURE_KEY_VAULT_URL"),
        ("keyvault", {**VAULT, "AZURE_KEY_VAULT_NAME": "x"}, "AZURE_KEY_VAULT_URL both say which vault"),
        ("keyvault", {"AZURE_KEY_VAULT_URL": "http://a.vault.azure.net/"}, "it must be https://<name>.vault.azure"),
        ("keyvault", {"AZURE_KEY_VAULT_URL": "https://a.vault.azure.cn/"}, "of another cloud write azureEnvironm"),
    ],
)
def test_what_contradicts_itself_or_cannot_be_honoured_is_refused(
    folder: str, env: dict[str, str], said: str
) -> None:
    with pytest.raises(VariableError, match=said):
        made(folder, **env)


@pytest.mark.promise("ACS-09")
def test_the_vaults_name_is_taken_from_its_address_and_the_identity_as_it_is() -> None:
    assert made("keyvault", **VAULT) == {"AZURE_KEY_VAULT_NAME": "your-vault"}
    [vault] = components("keyvault")
    assert vault.variables == {
        "vaultName": "AZURE_KEY_VAULT_NAME",
        "azureTenantId": "AZURE_TENANT_ID",
        "azureClientId": "AZURE_CLIENT_ID",
        "azureClientSecret": "AZURE_CLIENT_SECRET",
    }


@pytest.mark.promise("ACS-09")
@pytest.mark.parametrize("whole", [{"AZURE_SQL_CONNECTION_STRING": "Server=a;Encrypt=true"}, {}])
def test_what_the_components_want_whole_may_be_given_and_is_not_asked_of_others(whole: dict[str, str]) -> None:
    assert made("state/sqlserver" if whole else "state/redis", **whole) == {}


@pytest.mark.promise("ACS-09")
def test_a_vault_that_is_given_by_its_name_is_used() -> None:
    assert made("keyvault", AZURE_KEY_VAULT_NAME="x") == {}


@pytest.mark.promise("ACS-09")
@pytest.mark.parametrize("folder", ["state/sqlserver", "state/in-memory", "keyvault"])
def test_the_components_for_azure_are_as_their_types_can_be_told(folder: str) -> None:
    found = components(folder)
    known = settings.read_known(COMPONENTS / "settings.yaml")
    assert {one.type for one in found} - {"state.redis"} <= known.keys()
    env = {**SQL, **VAULT}
    settings.require_honoured(found, {**env, **azure_variables(found, env)})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Server=tcp:a,1433;Database=d;Uid=u;Pwd=p", "the server's certificate is not verified"),
        ("Server=a;Encrypt=yes;TrustServerCertificate=no", "takes TrustServerCertificate=true and =false"),
        ("Server=a;Encrypt=yes;Authentication=ActiveDirectoryIntegrated", "Authentication= is not read"),
    ],
)
def test_what_the_driver_makes_something_else_of_is_refused(text: str, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        settings.require_honoured(components("state/sqlserver"), {"AZURE_SQL_CONNECTION_STRING": text})
