"""Field masks of updates (AIP-134): which fields of a resource an update sets. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from google.api import field_behavior_pb2
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from services.runtime.errors import FieldViolation, InvalidField

Resource = TypeVar("Resource", bound=Message)

Descriptor = Any
FieldDescriptor = Any
"""protobuf has two implementations of descriptors, and they share no type."""

MAX_PATHS = 100
MAX_PATH_LENGTH = 200

_ALL_FIELDS = ["*"]

_NOT_SETTABLE = ("etag",)
"""Fields that clients send with a resource although an update does not set them."""


def apply_update(current: Resource, update: Resource, mask: FieldMask) -> Resource:
    """Copy the fields that the mask names from `update` over `current`.

    An empty mask means the populated fields of `update`, and "*" means all fields.
    Output-only fields and the etag keep their current values. Returns a new message.
    Errors: InvalidField if the mask has too many or too long paths, or unknown paths.
    """
    _check_size(mask)
    settable = FieldMask()
    settable.CanonicalFormFromMask(FieldMask(paths=_settable_paths(update, mask)))
    source, result = _settable_copy(update), _copy(current)
    for path in settable.paths:
        _set_parents(source, path)
    settable.MergeMessage(source, result, replace_message_field=True, replace_repeated_field=True)
    return result


def _settable_paths(update: Message, mask: FieldMask) -> Iterator[str]:
    if not mask.paths:
        return _populated_paths(update)
    if list(mask.paths) == _ALL_FIELDS:
        return (field.name for field in update.DESCRIPTOR.fields if _is_settable(field))
    _check_paths(update.DESCRIPTOR, mask)
    return (path for path in mask.paths if all(map(_is_settable, _fields(update, path))))


def _populated_paths(message: Message) -> Iterator[str]:
    for field, value in message.ListFields():
        if not _is_settable(field):
            continue
        if field.message_type is not None and not field.is_repeated:
            yield from (f"{field.name}.{path}" for path in _populated_paths(value))
        else:
            yield field.name


def _check_size(mask: FieldMask) -> None:
    if len(mask.paths) > MAX_PATHS:
        raise InvalidField(FieldViolation("update_mask", f"must have at most {MAX_PATHS} paths"))
    if any(len(path) > MAX_PATH_LENGTH for path in mask.paths):
        problem = f"must have paths of at most {MAX_PATH_LENGTH} characters"
        raise InvalidField(FieldViolation("update_mask", problem))


def _check_paths(descriptor: Descriptor, mask: FieldMask) -> None:
    unknown = [
        path for path in mask.paths if not FieldMask(paths=[path]).IsValidForDescriptor(descriptor)
    ]
    if unknown:
        raise InvalidField(
            *(
                FieldViolation("update_mask", f"names no field that can be updated: {path!r}")
                for path in unknown
            )
        )


def _fields(message: Message, path: str) -> Iterator[FieldDescriptor]:
    """The fields along a valid path."""
    descriptor: Descriptor = message.DESCRIPTOR
    for name in path.split("."):
        field = descriptor.fields_by_name[name]
        yield field
        descriptor = field.message_type


def _is_settable(field: FieldDescriptor) -> bool:
    behaviours = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.OUTPUT_ONLY not in behaviours and field.name not in _NOT_SETTABLE


def _set_parents(message: Any, path: str) -> None:
    """Make the messages along a path present.

    MergeMessage skips a path whose parent is absent, but a path to an absent field clears it.
    """
    *parents, _ = path.split(".")
    for name in parents:
        message = getattr(message, name)
        message.SetInParent()


def _settable_copy(message: Resource) -> Resource:
    """A copy without output-only fields: a client may send back a token with all its scripts."""
    copy = type(message)()
    names = [field.name for field in message.DESCRIPTOR.fields if _is_settable(field)]
    FieldMask(paths=names).MergeMessage(message, copy)
    return copy


def _copy(message: Resource) -> Resource:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
