"""Keys of recordings."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from services.upload.models import recording_key, recordings_prefix

# Generated in the last millisecond of an hour.
JOB_ID = UUID("019c1347-d27f-7000-8000-000000000000")


def test_a_key_begins_with_the_hour_in_which_the_id_of_the_job_was_generated() -> None:
    assert recording_key(7, JOB_ID) == f"recordings/2026-01-31T08/7/{JOB_ID}"


def test_the_recordings_of_an_hour_have_one_prefix() -> None:
    hour = datetime(2026, 1, 31, 8, tzinfo=UTC)
    assert recording_key(7, JOB_ID).startswith(recordings_prefix(hour))
