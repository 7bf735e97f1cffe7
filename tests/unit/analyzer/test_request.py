from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from services.analyzer.request import AnalysisRequest


def body() -> dict[str, Any]:
    return {
        "job_id": "0192f3a4-5b6c-7d8e-9f00-112233445566",
        "audio_url": "https://s3/take.webm?X-Amz-Signature=Ab%2Fc",
        "webhook_url": "http://gateway:8000/hook?job_id=1&signature=s",
        "token": {
            "id": "7",
            "reference_assets": {"voice": {"object_key": "v", "url": "http://s3/ref.wav"}},
            "scripts": [{"text": "hello you", "start_time": 0, "end_time": 1.5}],
        },
    }


def test_urls_keep_their_exact_spelling_and_are_hidden() -> None:
    request = AnalysisRequest.model_validate(body())
    assert request.audio_url == body()["audio_url"]
    assert "Signature" not in repr(request)
    assert "signature" not in repr(request)


def test_a_script_without_words_counts_as_one_word() -> None:
    (word,) = AnalysisRequest.model_validate(body()).token.scripts[0].timed_words()
    assert (word.text, word.start_time, word.end_time) == ("hello you", 0, 1.5)


def test_the_voice_of_a_token_is_optional() -> None:
    content = body()
    content["token"]["reference_assets"] = {}
    assert AnalysisRequest.model_validate(content).token.reference_assets.voice is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("job_id",), "not a UUID"),
        (("audio_url",), "file:///etc/passwd"),
        (("audio_url",), "http://"),
        (("audio_url",), "http://s3:65536/take.webm"),
        (("webhook_url",), "http://gateway:0/hook"),
        (("webhook_url",), 5),
        (("token", "scripts"), []),
        (("token", "scripts", 0, "end_time"), -1),
        (("token", "scripts", 0, "start_time"), 2),
        (("token", "scripts", 0, "end_time"), float("inf")),
        (("token", "scripts", 0, "text"), ""),
        (("token", "scripts", 0, "words"), [{"text": "hello"}]),
    ],
)
def test_invalid_fields_are_refused(path: tuple[str | int, ...], value: object) -> None:
    content: Any = body()
    target = content
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(ValidationError) as error:
        AnalysisRequest.model_validate(content)
    location = error.value.errors()[0]["loc"]
    assert location[: len(path)] == path[: len(location)]
