"""The error of the stack, and sentences for the errors of the operating system."""

from __future__ import annotations

import errno

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
# In the language of the C library and in those of the programs.
_FULL_TEXTS = (
    "No space left on device",
    "Disk quota exceeded",
    "File too large",
    "File size limit",
)
_READ_ONLY_TEXTS = ("Read-only file system",)
_FULL_ADVICE = "The disk is full. Free some space, or set SORI_DATA_DIR to a folder on another disk"
_READ_ONLY_ADVICE = "Make the folder writable, or set SORI_DATA_DIR to another folder"


class StackError(Exception):
    """The stack cannot do what it should; the text says why and what to do."""


def sentence_of(error: OSError) -> str:
    """What happened to which file, and what to do."""
    place = f" {error.filename}" if error.filename else " its files"
    if error.errno in _FULL:
        return f"The stack cannot write{place}: {error.strerror}. {_FULL_ADVICE}."
    if error.errno in _READ_ONLY:
        return f"The stack cannot write{place}: {error.strerror}. {_READ_ONLY_ADVICE}."
    return f"The stack cannot use{place}: {error.strerror or error}."


def reason_in(log: str) -> str:
    """The reason for a program's failure if its log names a known one; else empty."""
    if any(text in log for text in _FULL_TEXTS):
        return f"{_FULL_ADVICE}."
    if any(text in log for text in _READ_ONLY_TEXTS):
        return f"Its folder is read-only. {_READ_ONLY_ADVICE}."
    return ""
