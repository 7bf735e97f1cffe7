from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from services.analyzer.align import Aligner
from services.analyzer.analysis import AnalysisResults, compare, read_reference, read_voice
from services.analyzer.request import Script

AUDIO = Path(__file__).parents[2] / "audio"
MAX_SECONDS = 120.0

ReadAudio = Callable[[str], bytes]
ScriptOf = Callable[..., Script]
Analyse = Callable[..., AnalysisResults]


@pytest.fixture(scope="session")
def read_audio() -> ReadAudio:
    """Returns the content of a sample recording."""
    return lambda name: (AUDIO / name).read_bytes()


@pytest.fixture(scope="session")
def script_of() -> ScriptOf:
    """Returns the script of a reference voice, such as 0890."""
    references = {
        reference["file"]: reference
        for reference in json.loads((AUDIO / "references.json").read_text())
    }

    def script(line: str, language: str | None = "en") -> Script:
        reference = references[f"ref_{line}.wav"]
        words = [{**word, "text": word["word"]} for word in reference["words"]]
        return Script.model_validate(
            {**reference, "text": reference["script"], "words": words, "language_code": language}
        )

    return script


@pytest.fixture(scope="session")
def aligner() -> Aligner:
    return Aligner()


@pytest.fixture(scope="session")
def analyse(read_audio: ReadAudio, script_of: ScriptOf, aligner: Aligner) -> Analyse:
    """Returns the results of a take of a line."""

    def result(line: str, take: str, language: str | None = "en") -> AnalysisResults:
        reference = read_reference(
            read_audio(f"ref_{line}.wav"), [script_of(line, language)], MAX_SECONDS, aligner
        )
        return compare(reference, read_voice(read_audio(take), MAX_SECONDS), aligner)

    return result
