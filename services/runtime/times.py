"""Conversions of times and durations to protobuf."""

from __future__ import annotations

from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


def timestamp_of(time: datetime) -> Timestamp:
    """A time as a protobuf Timestamp."""
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp


def duration_of(span: timedelta) -> Duration:
    """A duration as a protobuf Duration."""
    duration = Duration()
    duration.FromTimedelta(span)
    return duration
