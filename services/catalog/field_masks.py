"""Field masks of updates (AIP-134): which fields of a resource an update sets. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from google.api import field_behavior_pb2
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from services.runtime.errors import FieldViolation, InvalidField

Resource = TypeVar("Resource", bound=Message)

Descriptor = Any
FieldDescriptor = Any
"""The protobuf package has two implementations of each, without a common type."""

_NOT_SET = ("etag",)
"""Sent with a resource, but not set by an update."""


def merged(current: Resource, update: Resource, mask: FieldMask) -> Resource:
    """The resource with those fields of `update` that the mask names.

    An empty mask names the populated fields, "*" all; output-only fields are passed
    over. Errors: InvalidField naming every path that there is not.
    """
    result = type(current)()
    result.CopyFrom(current)
    for path in _paths(update, mask):
        _assign(path, update, result)
    return result


def _paths(update: Message, mask: FieldMask) -> Iterator[Sequence[str]]:
    if list(mask.paths) == ["*"]:
        yield from ([field.name] for field in update.DESCRIPTOR.fields if _can_be_set(field))
    elif not mask.paths:
        yield from _populated(update)
    else:
        paths = [path.split(".") for path in mask.paths]
        unknown = [path for path in paths if _fields(update.DESCRIPTOR, path) is None]
        if unknown:
            raise InvalidField(*(_unknown(path) for path in unknown))
        for path in paths:
            if all(map(_can_be_set, _fields(update.DESCRIPTOR, path) or ())):
                yield path


def _unknown(path: Sequence[str]) -> FieldViolation:
    return FieldViolation("update_mask", f"names no field that can be updated: {'.'.join(path)!r}")


def _populated(message: Message) -> Iterator[Sequence[str]]:
    for field, value in message.ListFields():
        if not _can_be_set(field):
            continue
        if field.message_type is not None and not field.is_repeated:
            yield from ([field.name, *rest] for rest in _populated(value))
        else:
            yield [field.name]


def _fields(descriptor: Descriptor, path: Sequence[str]) -> list[FieldDescriptor] | None:
    """The fields along a path; None when it does not lead to one."""
    found: list[FieldDescriptor] = []
    for position, name in enumerate(path):
        field = descriptor.fields_by_name.get(name)
        if field is None:
            return None
        found.append(field)
        if position + 1 < len(path):
            # Elements of lists and maps can't be named.
            if field.message_type is None or field.is_repeated:
                return None
            descriptor = field.message_type
    return found


def _can_be_set(field: FieldDescriptor) -> bool:
    behaviours = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.OUTPUT_ONLY not in behaviours and field.name not in _NOT_SET


def _assign(path: Sequence[str], source: Any, target: Any) -> None:
    name, *rest = path
    if rest:
        _assign(rest, getattr(source, name), getattr(target, name))
        return
    field = source.DESCRIPTOR.fields_by_name[name]
    target.ClearField(name)
    if field.is_repeated:
        getattr(target, name).extend(getattr(source, name))
    elif field.message_type is None:
        setattr(target, name, getattr(source, name))
    elif source.HasField(name):
        getattr(target, name).CopyFrom(getattr(source, name))
