"""The component's settings, as a component file writes them: names and values are strings."""

import codecs
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from services.zeromq_pubsub.errors import SettingError

Port = Annotated[int, Field(ge=1, le=65535)]
Milliseconds = Annotated[int, Field(ge=1)]
# Read by the sidecar itself, which passes them on all the same.
_SIDECARS: Final = frozenset(
    {"publishingScopes", "subscriptionScopes", "allowedTopics", "protectedTopics", "entityKind"}
)


class Settings(BaseModel):
    """Where the broker is, and how much may wait for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    group: str = Field(alias="consumerID", min_length=1)
    """Consumers of one group share its messages; the sidecar says its app-id."""
    broker_address: str = Field("127.0.0.1", min_length=1)
    port: Port = 5555
    """Where publishers connect to."""
    backend_port: Port = 5556
    """Where subscribers connect to."""
    start_proxy: bool = True
    """Be the broker, here, unless one has these ports already."""
    proxy_mode: Literal["embedded", "external"] = "embedded"
    high_water_mark: int = Field(1000, ge=1)
    """Messages that may wait, for each topic and group in the broker and in each socket."""
    linger: Annotated[int, Field(ge=0)] = 1000
    """How long closing waits for what is not sent yet, in milliseconds."""
    connect_timeout: Milliseconds = 5000
    """How long the broker may take to answer, in milliseconds."""
    topic_encoding: str = "utf-8"

    @field_validator("topic_encoding")
    @classmethod
    def _known_encoding(cls, name: str) -> str:
        try:
            "topic".encode(name)
        except (LookupError, UnicodeError) as error:
            raise ValueError(f"{name!r} is no text encoding that Python knows") from error
        return codecs.lookup(name).name

    @model_validator(mode="before")
    @classmethod
    def _external_is_started_by_others(cls, given: dict[str, str]) -> dict[str, str]:
        return {"start_proxy": "false", **given} if given.get("proxy_mode") == "external" else given

    @model_validator(mode="after")
    def _fit(self) -> "Settings":
        if self.start_proxy and self.proxy_mode == "external":
            raise ValueError("start_proxy: an external broker is started by whoever runs it, so set it to false")
        if self.port == self.backend_port:
            raise ValueError(f"backend_port: {self.port} is also port, and each needs its own")
        return self

    @property
    def frontend(self) -> str:
        """Where publishers connect to, as ZeroMQ writes it."""
        return f"tcp://{self.broker_address}:{self.port}"

    @property
    def backend(self) -> str:
        """Where subscribers connect to, as ZeroMQ writes it."""
        return f"tcp://{self.broker_address}:{self.backend_port}"


def read_settings(properties: Mapping[str, str]) -> Settings:
    """The settings in a component's metadata. Raises SettingError that names each one that cannot be used."""
    given = {name: value for name, value in properties.items() if name not in _SIDECARS}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise SettingError(
            "; ".join(_fault(row["loc"], row["msg"], row["type"]) for row in error.errors())
        ) from error


def _fault(location: tuple[int | str, ...], text: str, kind: str) -> str:
    if kind == "extra_forbidden":
        names = ", ".join(field for field in Settings.model_fields if field != "group")
        return f"{location[0]}: there is no such setting; there are: {names}"
    reason = text.removeprefix("Value error, ")
    return f"{location[0]}: {reason}" if location else reason
