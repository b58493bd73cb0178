"""Settings from the environment."""

from collections.abc import Iterator

import pytest

from dovecote.errors import ConfigurationError
from dovecote.settings import Settings, get_settings


@pytest.fixture(autouse=True)
def _uncached() -> Iterator[None]:
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def test_a_variable_of_ours_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOVECOTE_MAX_QUESTION", "12")
    assert get_settings().max_question == 12


def test_ports_are_read_from_the_names_that_dapr_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, port in (("APP_PORT", "21001"), ("DAPR_HTTP_PORT", "21002"), ("DAPR_GRPC_PORT", "21003")):
        monkeypatch.setenv(name, port)
    settings = get_settings()
    assert (settings.app_port, settings.dapr_http_port, settings.dapr_grpc_port) == (21001, 21002, 21003)


@pytest.mark.promise("ACS-09")
@pytest.mark.parametrize(
    ("documented", "ours", "field"),
    [
        ("AGENT_DEFAULT_TIMEOUT", "DOVECOTE_ASK_TIMEOUT", "ask_timeout"),
        ("AGENT_MAX_RETRIES", "DOVECOTE_ASK_RETRIES", "ask_retries"),
        ("AGENT_HEARTBEAT_INTERVAL", "DOVECOTE_HEARTBEAT", "heartbeat"),
    ],
)
def test_names_that_another_system_documents_are_read_and_ours_comes_first(
    monkeypatch: pytest.MonkeyPatch, documented: str, ours: str, field: str
) -> None:
    monkeypatch.setenv(documented, "30")
    assert getattr(get_settings(), field) == 30
    get_settings.cache_clear()
    monkeypatch.setenv(ours, "40")
    assert getattr(get_settings(), field) == 40
    get_settings.cache_clear()
    monkeypatch.delenv(ours)
    monkeypatch.setenv(documented, "often")
    with pytest.raises(ConfigurationError, match=f"environment: {documented}: "):
        get_settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DOVECOTE_CONCURRENCY", "0"),
        ("DOVECOTE_HEARTBEAT", "often"),
        ("DOVECOTE_LOG_LEVEL", "loud"),
        ("DOVECOTE_AGENT_WAIT", "-1"),
        ("APP_PORT", "http"),
        ("DAPR_GRPC_PORT", ""),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=f"environment: {variable}: ") as caught:
        get_settings()
    assert caught.value.mend == "see .env.example"


@pytest.mark.promise("ACS-08", "ACS-09")
@pytest.mark.parametrize("variable", ["AGENT_COMMUNICATION_MODE", "DOVECOTE_STATE_MODE"])
def test_there_are_two_modes_of_storage_and_another_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    assert not get_settings().state_mode
    for mode in ("sql", "mock"):
        get_settings.cache_clear()
        monkeypatch.setenv(variable, mode)
        assert get_settings().state_mode == mode
    get_settings.cache_clear()
    monkeypatch.setenv(variable, "redis")
    with pytest.raises(ConfigurationError, match=f"environment: {variable}: Input should be '', 'sql' or 'mock'"):
        get_settings()


def test_all_wrong_variables_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOVECOTE_CONCURRENCY", "0")
    monkeypatch.setenv("DOVECOTE_STOP_TIMEOUT", "0")
    with pytest.raises(ConfigurationError, match=r"DOVECOTE_CONCURRENCY.*; DOVECOTE_STOP_TIMEOUT"):
        get_settings()


def test_settings_do_not_change() -> None:
    settings = Settings()
    for field in Settings.model_fields:
        with pytest.raises(ValueError, match="frozen"):
            setattr(settings, field, None)
