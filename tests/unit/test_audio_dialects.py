"""Every dialect of audio in docs/audio.md is accepted at upload and scored by the analyzer."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from services.analyzer.align import Aligner
from services.analyzer.analysis import Reference, compare, read_reference, read_voice
from services.analyzer.request import Script
from services.runtime.audio_formats import FORMATS, format_of
from services.upload.errors import RecordingTooLong
from services.upload.media_type import HEAD_BYTES, Head, audio_type
from tests.dialects import AUDIO, DIALECTS, SENTENCE

DOCS = Path(__file__).parents[2] / "docs" / "audio.md"
MAX_SECONDS = 120.0


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    return Aligner()


@pytest.fixture(scope="module")
def reference(aligner: Aligner) -> Reference:
    name = f"ref_{SENTENCE}.wav"
    references = json.loads((AUDIO / "references.json").read_text())
    (described,) = (each for each in references if each["file"] == name)
    words = [{**word, "text": word["word"]} for word in described["words"]]
    content = {**described, "text": described["script"], "words": words, "language_code": "en"}
    script = Script.model_validate(content)
    return read_reference((AUDIO / name).read_bytes(), [script], MAX_SECONDS, aligner)


def inspect(content: bytes, limit_seconds: float) -> str:
    """The media type of an upload."""
    head = Head(audio_type, limit_seconds)
    return head.feed(content[:HEAD_BYTES]) or head.settle()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_take_in_any_dialect_is_accepted_at_upload(dialect: str) -> None:
    content = DIALECTS[dialect]()
    found = format_of(content)
    assert found is not None
    assert inspect(content, MAX_SECONDS) == found.content_type


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_take_in_any_dialect_is_scored_like_the_original(
    dialect: str, reference: Reference, aligner: Aligner
) -> None:
    take = read_voice(DIALECTS[dialect](), MAX_SECONDS)
    results = compare(reference, take, aligner)
    # Another sentence scores below 35. A bandwidth of 2 kHz costs 22 points.
    assert results["overall_score"] > 75


def test_the_documentation_lists_exactly_the_dialects_that_are_tested() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", DOCS.read_text(), re.MULTILINE)
    assert rows == list(DIALECTS)


def test_every_accepted_format_has_a_dialect() -> None:
    assert {format_of(build()) for build in DIALECTS.values()} == set(FORMATS)


@pytest.mark.parametrize("dialect", ["WAV", "RF64", "W64", "AIFF", "CAF", "FLAC", "MP4, AAC"])
def test_a_stated_duration_over_the_limit_is_refused_at_upload(dialect: str) -> None:
    with pytest.raises(RecordingTooLong):
        inspect(DIALECTS[dialect](), 3.0)
