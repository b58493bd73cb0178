"""Tools of clients that know nothing of Dovecote, as they register, and the record of them."""

import json
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Self, TypeVar

from jsonschema_rs import Draft202012Validator
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from dovecote import App
from dovecote.errors import InvalidInputError, NotFoundError
from dovecote.messages import now
from dovecote.ports import ToolSpec
from dovecote.problems import faults
from dovecote.updates import update

M = TypeVar("M", bound=BaseModel)
_KEY: Final = "external-tools"


def checked(model: type[M], content: JsonValue) -> M:
    """The content as that model; InvalidInputError that says what does not fit."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise InvalidInputError(f"{model.__name__} does not fit: {faults(error.errors())}") from error


def _read_json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri!r} is another document")


class ToolRegistration(BaseModel):
    """What such a tool says of itself: also under the names that Argentic has for it.

    `id` is the last level of its topics, and follows from the name if none is given. `lease` is for how many
    seconds it is known (default: until it is unregistered), `timeout` for how many a call may take.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,40}$")] = Field(
        validation_alias=AliasChoices("name", "tool_name")
    )
    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,60}$")] = Field(
        "", validation_alias=AliasChoices("id", "tool_id")
    )
    description: str = Field(min_length=1, validation_alias=AliasChoices("description", "manual", "tool_manual"))
    parameters: Annotated[dict[str, Any], BeforeValidator(_read_json)] = Field(
        {"type": "object"}, validation_alias=AliasChoices("parameters", "argument_schema", "api", "tool_api")
    )
    lease: float | None = Field(None, gt=0)
    timeout: float = Field(60, gt=0, le=600)

    @model_validator(mode="after")
    def _named(self) -> Self:
        self.id = self.id or self.name.lower()
        return self

    @field_validator("parameters")
    @classmethod
    def _is_schema(cls, schema: dict[str, Any]) -> dict[str, Any]:
        # What others on the broker write must not make anybody here fetch an address.
        Draft202012Validator(schema, retriever=_refuse)
        return schema

    @property
    def spec(self) -> ToolSpec:
        """The function that a model is offered."""
        return ToolSpec(name=self.name, description=self.description, parameters=self.parameters)


class Unregistration(BaseModel):
    """What ends a registration."""

    name: str = Field(validation_alias=AliasChoices("name", "tool_name"))


class Registrations:
    """The registered tools by name, in the state store, so that each replica knows them after any restart."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def all(self) -> dict[str, ToolRegistration]:
        """Those whose lease holds."""
        return {name: ToolRegistration.model_validate(row["tool"]) for name, row in (await self._rows()).items()}

    async def get(self, name: str) -> ToolRegistration:
        """One whose lease holds; NotFoundError, which names all others, if there is none of that name."""
        rows = await self._rows()
        if name not in rows:
            raise NotFoundError(
                f"no external tool is called {name!r}", mend=f"registered: {', '.join(rows) or 'none'}"
            )
        return ToolRegistration.model_validate(rows[name]["tool"])

    async def _rows(self) -> dict[str, Any]:
        item = await self._app.running.ports.state.get(_KEY)
        return _holding(item.value if item else None)

    async def add(self, tool: ToolRegistration) -> None:
        """Keep a tool, instead of what had its name; InvalidInputError if another one has its id."""
        until = tool.lease and (now() + timedelta(seconds=tool.lease)).isoformat()

        def put(value: Any) -> JsonValue:
            rows = {**_holding(value), tool.name: {"tool": tool.model_dump(mode="json"), "until": until}}
            _require_different_ids(rows)
            return rows

        await update(self._app.running.ports.state, _KEY, put)

    async def remove(self, name: str) -> None:
        """Forget a tool; an unknown one is no error."""

        def drop(value: Any) -> JsonValue:
            return {other: row for other, row in _holding(value).items() if other != name}

        await update(self._app.running.ports.state, _KEY, drop)


def _require_different_ids(rows: dict[str, Any]) -> None:
    names: dict[str, str] = {}
    for name, row in rows.items():
        other = names.setdefault(row["tool"]["id"], name)
        if other != name:
            raise InvalidInputError(
                f"tool {name!r} cannot have the id {row['tool']['id']!r}: {other!r} has it",
                mend="register with another id",
            )


def _holding(rows: dict[str, Any] | None) -> dict[str, Any]:
    at = now()
    return {
        name: row
        for name, row in (rows or {}).items()
        if row["until"] is None or datetime.fromisoformat(row["until"]) > at
    }
