"""The schemas of the OpenAPI document: messages of the contract as JSON.

A message that clients send and receive has a schema for each direction. Responses contain every
primitive field, so these are required there. Requests lack the fields that only the server
sets, and an update requires no field.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from typing import Any

from gateway.openapi_contract import Contract, Descriptor, Json, is_output_only, is_required
from gateway.openapi_facts import ALWAYS_SET, ANALYSIS_OUTPUT_FIELDS, FIELDS
from gateway.openapi_static import STATIC_SCHEMAS

MAX_INT32 = 2**31 - 1

_SCALARS: Mapping[int, Json] = {
    1: {"type": "number", "format": "double"},
    2: {"type": "number", "format": "float"},
    3: {"type": "string", "format": "int64"},
    4: {"type": "string", "format": "uint64"},
    5: {"type": "integer", "format": "int32", "minimum": -MAX_INT32 - 1, "maximum": MAX_INT32},
    8: {"type": "boolean"},
    9: {"type": "string"},
    12: {"type": "string", "format": "byte"},
    13: {"type": "integer", "format": "uint32", "minimum": 0},
}
_WELL_KNOWN: Mapping[str, Json] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": "^[0-9]+([.][0-9]+)?s$"},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.Empty": {"type": "object", "example": {}},
}
_NEVER = ("Never sent.", "Not allowed.")
"""Comments of enum values that no message contains."""


class Direction(Enum):
    """How a message is used. The value ends the name of its schema."""

    RESPONSE = ""
    CREATE = "Input"
    UPDATE = "Update"


class Schemas:
    """The component schemas, which references to them create."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._sent_by_server: set[str] = set()
        self.components: dict[str, Json] = dict(STATIC_SCHEMAS)
        self._owners: dict[str, str] = {}

    def expect_responses(self, messages: Collection[Descriptor]) -> None:
        """State the messages of all responses, whose schemas get the plain names."""
        for message in messages:
            if message.full_name not in self._sent_by_server:
                self._sent_by_server.add(message.full_name)
                nested = [field.message_type for field in message.fields if field.message_type]
                self.expect_responses(nested)

    def reference(
        self, message: Descriptor, direction: Direction, *, without: Collection[str] = ()
    ) -> Json:
        """A reference to the schema of a message.

        without: the fields that the path binds; the body does not have them.
        """
        if message.full_name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[message.full_name])
        name = self._name(message, direction)
        if self._owners.setdefault(name, message.full_name) != message.full_name:
            raise ValueError(f"{message.full_name} and {self._owners[name]} are both {name}")
        if name not in self.components:
            # Registered before its fields, which may refer to it.
            self.components[name] = {}
            self.components[name] = self._object(message, direction, without)
        return {"$ref": f"#/components/schemas/{name}"}

    def of_field(self, found: Descriptor, direction: Direction) -> Json:
        """The schema of a field."""
        if key_of(found) in ANALYSIS_OUTPUT_FIELDS:
            return {"$ref": "#/components/schemas/AnalysisOutput"}
        facts = facts_of(found)
        if found.is_repeated:
            item_facts = facts.pop("items", {})
            items = self._single(found, direction)
            items = items if "$ref" in items else items | item_facts
            return {"type": "array", "items": items} | facts
        schema = self._single(found, direction)
        return schema if "$ref" in schema else schema | facts

    def property(self, found: Descriptor, direction: Direction) -> Json:
        """The schema of a field with its description."""
        schema = self.of_field(found, direction)
        described: Json = {"description": self._contract.comment(found)}
        if is_output_only(found):
            described["readOnly"] = True
        return {"allOf": [schema], **described} if "$ref" in schema else schema | described

    def _name(self, message: Descriptor, direction: Direction) -> str:
        name: str = message.name
        if direction is Direction.CREATE and message.full_name not in self._sent_by_server:
            return name
        return name + direction.value

    def _object(self, message: Descriptor, direction: Direction, without: Collection[str]) -> Json:
        # The messages in an update replace the former ones.
        nested = Direction.CREATE if direction is Direction.UPDATE else direction
        fields = [
            field
            for field in message.fields
            if field.name not in without
            and (direction is Direction.RESPONSE or not is_output_only(field))
        ]
        schema: Json = {
            "type": "object",
            "description": self._contract.comment(message),
            "properties": {field.name: self.property(field, nested) for field in fields},
        }
        required = [field.name for field in fields if _is_required(field, direction)]
        return schema | ({"required": required} if required else {})

    def _single(self, found: Descriptor, direction: Direction) -> Json:
        if found.message_type is not None:
            return self.reference(found.message_type, direction)
        if found.enum_type is not None:
            return self._enum(found.enum_type)
        return dict(_SCALARS[found.type])

    def _enum(self, enum: Descriptor) -> Json:
        comments = self._contract.value_comments(enum)
        values = [name for name, comment in comments.items() if comment not in _NEVER]
        lines = [self._contract.comment(enum), ""]
        lines += [f"- `{name}`: {_one_line(comments[name])}" for name in values]
        self.components[enum.name] = {
            "type": "string",
            "description": "\n".join(lines),
            "enum": values,
        }
        return {"$ref": f"#/components/schemas/{enum.name}"}


def key_of(found: Descriptor) -> str:
    """The name of a field with that of its message."""
    return f"{found.containing_type.name}.{found.name}"


def facts_of(found: Descriptor) -> Json:
    """The facts about a field that the contract does not state."""
    return dict(FIELDS.get(key_of(found)) or FIELDS.get(found.name) or {})


def mask_pattern(message: Descriptor) -> str:
    """A pattern of the update masks of a message: `*`, or paths separated by commas."""
    path = "|".join(_settable_paths(message)).replace(".", "[.]")
    return f"^([*]|({path})(,({path}))*)?$"


def _settable_paths(message: Descriptor, prefix: str = "") -> Iterator[str]:
    for field in message.fields:
        if is_output_only(field):
            continue
        yield prefix + field.name
        if field.message_type is not None and not field.is_repeated:
            yield from _settable_paths(field.message_type, f"{prefix}{field.name}.")


def _is_required(found: Descriptor, direction: Direction) -> bool:
    if direction is Direction.RESPONSE:
        return found.is_repeated or not found.has_presence or key_of(found) in ALWAYS_SET
    return direction is Direction.CREATE and is_required(found)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def example_of(schema: Json, components: Mapping[str, Json]) -> Any:
    """An example of a schema, made of the examples of its parts."""
    if "example" in schema:
        return schema["example"]
    for keyword in ("allOf", "anyOf"):
        if keyword in schema:
            return example_of(schema[keyword][0], components)
    if "$ref" in schema:
        return example_of(components[schema["$ref"].rpartition("/")[2]], components)
    if "enum" in schema:
        return schema["enum"][-1]
    if schema.get("type") == "array":
        return [example_of(schema["items"], components)]
    if schema.get("type") == "object":
        return {
            name: example_of(each, components)
            for name, each in schema.get("properties", {}).items()
        }
    return _EXAMPLES[schema["type"]]


_EXAMPLES: Mapping[str, Any] = {"boolean": False, "string": "text", "number": 0.5, "integer": 1}
