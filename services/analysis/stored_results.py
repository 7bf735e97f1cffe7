"""Reading stored results. Earlier versions stored some that no client can read.

`ReportParser` refuses such results today, but rows of earlier versions stay.
"""

from __future__ import annotations

import math
import re

from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import ListValue, Struct, Value

# Serialized, a number is the byte 0x11 and 8 bytes. All bits of the exponent, in the last two
# bytes, are set in NaN and infinity. Other bytes can look like that, too.
_MAYBE_NOT_FINITE = re.compile(rb"\x11.{6}[\xf0-\xff][\x7f\xff]", re.DOTALL)

_KEY = b"\x0a\x01r"


def readable_result(stored: bytes) -> Struct | None:
    """The result that clients get; None if they could not read it.

    stored: a serialized google.protobuf.Struct. Numbers that JSON does not have, NaN and
    infinity, become null. A result that nests too deep for the gateway is not readable.
    """
    try:
        # Within an object, because the gateway reads it within a message.
        result = Struct.FromString(_within_object(stored)).fields["r"].struct_value
    except DecodeError:
        return None
    if _MAYBE_NOT_FINITE.search(stored):
        for value in result.fields.values():
            _replace_not_finite(value)
    return result


def _replace_not_finite(value: Value) -> None:
    match value.WhichOneof("kind"):
        case "number_value" if not math.isfinite(value.number_value):
            value.null_value = 0  # type: ignore[assignment]
        case "struct_value":
            for child in value.struct_value.fields.values():
                _replace_not_finite(child)
        case "list_value":
            elements: ListValue = value.list_value
            for child in elements.values:
                _replace_not_finite(child)
        case _:
            pass


def _within_object(stored: bytes) -> bytes:
    """A serialized Struct with the field `r`, whose value is the stored Struct."""
    value = b"\x2a" + _varint(len(stored)) + stored
    entry = _KEY + b"\x12" + _varint(len(value)) + value
    return b"\x0a" + _varint(len(entry)) + entry


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
