"""What the adapters share: a format says what it can, and what it cannot say is carried beside it, both ways.

What Dovecote has no field for is in the message's metadata, under `adapters.<format>`: what to change in the plain
form to have the foreign message again, with the id of the message that it belongs to, since replies copy metadata.
What the format has no field for is in an extension of the foreign message called `dovecote`: fields of the message
by name. The extension goes before what the foreign message says otherwise. So there is nothing to lose, whatever
the two say differently.
"""

import json
from collections.abc import Callable
from typing import Any, Final, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import from_json

from dovecote.errors import InvalidInputError
from dovecote.messages import Message
from dovecote.problems import faults

EXTENSION: Final = "dovecote"
Json = dict[str, Any]
_ABSENT: Final = object()
# Fields that every message has, also where nobody gave them.
_MADE_UP: Final = frozenset({"id", "timestamp"})


class Foreign(BaseModel):
    """A message of another format; fields that its documents do not name are kept as they are."""

    model_config = ConfigDict(extra="allow", frozen=True)

    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    def model_post_init(self, _: object) -> None:
        """What was made up, such as an id, was said from now on."""
        made = (name for name, field in type(self).model_fields.items() if field.default_factory)
        self.model_fields_set.update(made)

    def wire(self) -> Json:
        """The JSON object of what was said: fields that were left out are left out."""
        return self.model_dump(mode="json", exclude_unset=True)

    def to_json(self) -> str:
        """The JSON text."""
        return json.dumps(self.wire(), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The message of a JSON text; InvalidInputError, which names the field, if it does not fit."""
        return cls.checked(text)

    @classmethod
    def checked(cls, foreign: object) -> Self:
        """The message of a JSON object or its text; InvalidInputError, naming the field, if it does not fit."""
        if isinstance(foreign, cls):
            return foreign
        try:
            return cls.model_validate(read_json(foreign))
        except ValidationError as error:
            text = f"this is no {cls.__name__}: {faults(error.errors())}"
            raise InvalidInputError(text, mend=_fields_of(cls)) from error


class Change(BaseModel):
    """What is to be changed in one JSON object to have another."""

    model_config = ConfigDict(extra="forbid")

    set: dict[str, JsonValue] = {}
    unset: list[str] = []
    within: dict[str, "Change"] = {}

    @classmethod
    def between(cls, given: Json, wanted: Json) -> Self:
        """The least change that makes `wanted` of `given`."""
        change = cls(set={}, unset=[key for key in given if key not in wanted], within={})
        for key, value in wanted.items():
            other = given.get(key)
            if isinstance(value, dict) and isinstance(other, dict):
                if inner := cls.between(other, value):
                    change.within[key] = inner
            elif key not in given or not _same(value, other):
                change.set[key] = value
        return change

    def __bool__(self) -> bool:
        return bool(self.set or self.unset or self.within)

    def applied(self, given: Json) -> Json:
        """What is made of `given`."""
        changed = {key: value for key, value in given.items() if key not in self.unset} | self.set
        for key, inner in self.within.items():
            value = changed.get(key)
            changed[key] = inner.applied(value if isinstance(value, dict) else {})
        return changed


class _Kept(BaseModel):
    """What a message's metadata has for an adapter."""

    id: str
    plain: Change = Change()
    extension: Change = Change()

    def __bool__(self) -> bool:
        return bool(self.plain or self.extension)


F = TypeVar("F", bound=Foreign)


class Format(Generic[F]):
    """A format, and its plain mapping: `fields` of a message from the JSON object, `spell` the other way.

    Neither need be the whole truth; what `spell` gives must fit the model, and make a message again.
    `extension` is where in the JSON object the extension is.
    """

    def __init__(
        self,
        name: str,
        model: type[F],
        fields: Callable[[Json], Json],
        spell: Callable[[Message], Json],
        extension: tuple[str, ...] = (EXTENSION,),
    ) -> None:
        self._key = f"adapters.{name}"
        self._model = model
        self._fields = fields
        self._spell = spell
        self._extension = extension

    def to_message(self, foreign: F | Json | str | bytes) -> Message:
        """The message of a foreign one, of its JSON object or its JSON text.

        Raises InvalidInputError, which names the field and the mend, for what does not fit the format.
        """
        plain, extension = self._split(read_json(self._model.checked(foreign).wire()))
        message = self._made(plain, extension)
        usual, beside = self._usual(message)
        kept = _Kept(id=message.id, plain=Change.between(usual, plain), extension=Change.between(beside, extension))
        if not kept:
            return message
        if self._key in message.metadata:
            raise InvalidInputError(
                f"{EXTENSION}.metadata: {self._key!r} is a key of the adapter's own", mend="use another key"
            )
        text = kept.model_dump_json(exclude_defaults=True)
        return message.model_copy(update={"metadata": {**message.metadata, self._key: text}})

    def from_message(self, message: Message) -> F:
        """The foreign message of a message: the one that it was made of, if there was one.

        What was changed since is said in its extension. Raises InvalidInputError if metadata of the adapter's own
        was changed so that the message does not fit.
        """
        message, kept = self._kept(message)
        usual, beside = self._usual(message)
        plain, extension = kept.plain.applied(usual), kept.extension.applied(beside)
        plain = self._model.checked(plain).wire()
        changed = _unlike(message, self._made(plain, extension))
        # What the foreign message does not say was made up, and is not what it is to say.
        made_up = _MADE_UP - self._fields(plain).keys() - extension.keys() if kept else set()
        extension |= {name: value for name, value in changed.items() if name not in made_up}
        return self._model.checked(_with(plain, self._extension, extension) if extension else plain)

    def _made(self, plain: Json, extension: Json) -> Message:
        fields = self._fields(plain)
        fields["metadata"] = {key: text for key, text in fields.get("metadata", {}).items() if key != self._key}
        try:
            return Message.model_validate(fields | extension)
        except ValidationError as error:
            text = f"this {self._model.__name__} is no message: {faults(error.errors())}"
            raise InvalidInputError(text, mend=_fields_of(self._model)) from error

    def _usual(self, message: Message) -> tuple[Json, Json]:
        """How a message that came from nowhere else is said, and what of it goes into the extension."""
        plain, _ = _without(self._model.checked(self._spell(message)).wire(), self._extension)
        return plain, _unlike(message, self._made(plain, {}))

    def _split(self, said: Json) -> tuple[Json, Json]:
        plain, extension = _without(said, self._extension)
        if extension is _ABSENT:
            return plain, {}
        if not isinstance(extension, dict) or not extension or extension.keys() - Message.model_fields.keys():
            raise InvalidInputError(
                f"{'.'.join(self._extension)}: this is no object of fields that a message of Dovecote has",
                mend="leave it out, or give fields such as deadline and order_key",
            )
        return plain, extension

    def _kept(self, message: Message) -> tuple[Message, "_Kept"]:
        """The message without what it has for this adapter, and that."""
        try:
            kept = _Kept.model_validate_json(message.metadata.get(self._key, ""))
        except ValidationError:
            return message, _Kept(id=message.id)
        if kept.id != message.id:
            return message, _Kept(id=message.id)
        metadata = {key: text for key, text in message.metadata.items() if key != self._key}
        return message.model_copy(update={"metadata": metadata}), kept


def read_json(foreign: object) -> Any:
    """A JSON value, or the one of a JSON text; InvalidInputError for what is not JSON."""
    try:
        value = from_json(foreign) if isinstance(foreign, str | bytes) else foreign
        # As text once more, which refuses what only Python has, such as infinite numbers, and what is too deep.
        return from_json(json.dumps(value, allow_nan=False))
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidInputError(f"this is not JSON: {error}", mend="give a JSON object, or its text") from error


def object_of(content: JsonValue) -> Json:
    """Content where a format has only objects."""
    return content if isinstance(content, dict) else {"value": content}


def content_of(value: Json) -> JsonValue:
    """Content of such an object."""
    return value["value"] if value.keys() == {"value"} else value


def texts(values: Json) -> dict[str, str]:
    """Those of the values that are texts."""
    return {key: value for key, value in values.items() if isinstance(value, str)}


def _fields_of(model: type[Foreign]) -> str:
    fields = model.model_fields.items()
    names = ", ".join(f"{name} (required)" if field.is_required() else name for name, field in fields)
    return f"its fields are {names}"


def _unlike(message: Message, other: Message) -> Json:
    """Those fields of a message, in JSON, that are not so in another."""
    wanted, found = message.model_dump(mode="json"), other.model_dump(mode="json")
    return {name: value for name, value in wanted.items() if not _same(value, found[name])}


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are: not so 1, 1.0 and true, which are equal in Python."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _without(value: Json, path: tuple[str, ...]) -> tuple[Json, Any]:
    first, *rest = path
    if not rest:
        return {key: part for key, part in value.items() if key != first}, value.get(first, _ABSENT)
    if not isinstance(value.get(first), dict):
        return value, _ABSENT
    inner, found = _without(value[first], tuple(rest))
    return {**value, first: inner}, found


def _with(value: Json, path: tuple[str, ...], part: Json) -> Json:
    first, *rest = path
    return {**value, first: _with(value.get(first) or {}, tuple(rest), part) if rest else part}
