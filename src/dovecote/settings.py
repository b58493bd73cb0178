"""Settings: the only reader of the environment."""

import os
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from dovecote.errors import ConfigurationError


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


# Nothing said is neither true nor false.
Flag = Annotated[bool | None, BeforeValidator(lambda value: None if value == "" else value)]


class Settings(BaseSettings):
    """What an app reads from its environment; every name starts with DOVECOTE_ unless Dapr sets it."""

    model_config = SettingsConfigDict(env_prefix="DOVECOTE_", frozen=True, extra="ignore", populate_by_name=True)

    app_port: int = Field(8080, validation_alias=AliasChoices("APP_PORT", "DOVECOTE_APP_PORT"))
    dapr_http_port: int = Field(3500, validation_alias="DAPR_HTTP_PORT")
    dapr_grpc_port: int = Field(50001, validation_alias="DAPR_GRPC_PORT")
    dapr_api_token: SecretStr = Field(
        SecretStr(""), validation_alias="DAPR_API_TOKEN", description="token that sidecars demand of their apps"
    )
    app_api_token: SecretStr = Field(
        SecretStr(""),
        validation_alias="APP_API_TOKEN",
        description="token that apps demand of their sidecars, for all that is not public",
    )
    host: str = Field("127.0.0.1", description="address that an app listens on")
    capabilities: Path = Field(Path("components/capabilities.yaml"), description="what each broker can do")
    data: Path = Field(Path(".dovecote/data"), description="folder for what services keep on disk")
    docs: Path = Field(
        Path(), description="folder of documents when a question names none; others may be named relative to it"
    )
    docs_root: Path = Field(
        Path("/"), description="folder in which every folder of documents that a question names must lie"
    )
    max_question: int = Field(8000, gt=0, description="longest question, in characters")
    concurrency: int = Field(
        100,
        gt=0,
        description="message handlers at once, per app; urgent messages have as many of their own, and steps of "
        "workflows too",
    )
    heartbeat: float = Field(
        10.0,
        gt=0,
        validation_alias=AliasChoices("DOVECOTE_HEARTBEAT", "AGENT_HEARTBEAT_INTERVAL"),
        description="seconds between an app's signs of life; its lease is one and a half of them",
    )
    agent_wait: float = Field(20.0, ge=0, description="seconds to wait for an agent that is not running")
    model_wait: float = Field(60.0, ge=0, description="seconds to go on trying a model or a tool that is away")
    ask_timeout: float = Field(
        600.0,
        gt=0,
        validation_alias=AliasChoices("DOVECOTE_ASK_TIMEOUT", "AGENT_DEFAULT_TIMEOUT"),
        description="seconds until an agent that was asked is given up",
    )
    ask_retries: int = Field(
        0,
        ge=0,
        validation_alias=AliasChoices("DOVECOTE_ASK_RETRIES", "AGENT_MAX_RETRIES"),
        description="how often a plan asks an agent anew that answered with an error which may pass",
    )
    sidecar_connections: int = Field(
        0, ge=0, description="how many connections an app opens to its sidecar at most; 0: as many as it needs"
    )
    sidecar_idle: float = Field(
        15.0, gt=0, description="seconds that a connection to the sidecar is kept which nobody uses"
    )
    state_mode: Literal["", "sql", "mock"] = Field(
        "",
        validation_alias=AliasChoices("DOVECOTE_STATE_MODE", "AGENT_COMMUNICATION_MODE"),
        description="where state must be kept, or the app ends: sql (Azure SQL) or mock (the memory of sidecars, "
        "which loses it); if it is empty, it is kept where the component file says",
    )
    resend_after: float = Field(5.0, gt=0, description="seconds until an unanswered task is sent again")
    accept_timeout: float = Field(
        300.0, gt=0, description="seconds until a task that no agent has taken is a dead letter"
    )
    max_resubmissions: int = Field(
        5, ge=0, description="how often a dead letter may be handed to its consumer again"
    )
    stop_delay: int = Field(
        0,
        ge=0,
        description="seconds to go on serving at a stop before the app ends its sidecar too; 0 where somebody else "
        "stops sidecars in order, as the launcher does",
    )
    stop_timeout: int = Field(
        7, gt=0, description="seconds for requests, and then for activities, to finish at a stop"
    )
    compress_over: int = Field(
        0, ge=0, description="bytes of a message's content over which it is compressed with gzip; 0: never"
    )
    claim_over: int = Field(
        0,
        ge=0,
        description="bytes of a message over which its content is kept in the state component `claims`; 0: what "
        "the broker takes, which is the most",
    )
    claim_ttl: int = Field(
        7 * 24 * 3600, gt=0, description="seconds to keep such content of a message that has no time to live"
    )
    encryption_key: str = Field(
        "", description="id of the key of the component `crypto` that content is encrypted with; if empty, none is"
    )
    encryption_algorithm: str = Field(
        "A256KW", description="how that key wraps the key of each message, such as A256KW or RSA-OAEP-256"
    )
    signatures: Literal["off", "sign", "require"] = Field(
        "off", description="sign what is sent; require: and refuse what its sender did not sign"
    )
    signature_window: float = Field(
        24 * 3600.0, gt=0, description="seconds after which a signed message counts as replayed"
    )
    secret_store: str = Field("secrets", description="component with the keys of signatures")
    signing_secret: str = Field(
        "SIGNING_KEY_{APP}", description="secret with an app's own key; {app} is its app-id, {APP} that in capitals"
    )
    verifying_secret: str = Field("SIGNING_KEYS", description="secret with the public keys of all apps")
    unsigned_topics: str = Field(
        "", description="patterns of topics, apart by spaces, on which what is not signed is taken all the same"
    )
    max_body: int = Field(64 * 1024 * 1024, gt=0, description="largest content of a message, in bytes")
    agent_preset: Literal["", "production", "development", "single-agent"] = Field(
        "", description="what agents publish: production, development or single-agent; each of the next three wins"
    )
    publish_to_supervisor: Flag = Field(
        None, description="whether agents answer who gave a task, and are found by plans (default: true)"
    )
    publish_to_agent_topic: Flag = Field(
        None, description="whether agents tell each step on agent/<app-id>/status (default: true)"
    )
    enable_tool_result_publishing: Flag = Field(
        None,
        description="whether agents tell what each tool gave on tools/<tool>/response/<task> (default: false)",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"
    log_format: Literal["text", "json"] = "text"
    pub_log_topic: str = Field(
        "",
        pattern=r"^(logs(/[a-z0-9_-]+)*)?$",
        description="topic that logs are published to, such as logs/debug; with logs they go to logs/<level> and "
        "logs/agent/<app-id>; if it is empty, none are published",
    )
    pub_log_rate: float = Field(50.0, gt=0, description="log records published a second, at most, per app")

    @property
    def lease(self) -> float:
        """For how many seconds an app counts as alive after a sign of life."""
        return self.heartbeat * 1.5


@cache
def get_settings() -> Settings:
    """The settings of this process. Raises ConfigurationError that names the variable."""
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(f"{_variable(e['loc'])}: {e['msg']}" for e in error.errors())
        raise ConfigurationError(f"environment: {problems}", mend="see .env.example") from error


def _variable(loc: tuple[int | str, ...]) -> str:
    """The variable that was read for a field; pydantic names the first of several that it would have read."""
    name = str(loc[0])
    for field in Settings.model_fields.values():
        alias = field.validation_alias
        if isinstance(alias, AliasChoices) and name in alias.choices:
            return next((str(one) for one in alias.choices if str(one) in os.environ), name)
    return name if name.isupper() else f"DOVECOTE_{name.upper()}"
