"""Analysis requests: the body of `POST /analyze-voice`."""

from __future__ import annotations

from typing import Annotated, Self
from uuid import UUID

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _http_url(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError("must be a URL") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ValueError("must be an http or https URL")
    # httpx accepts any number as a port and fails only when it connects.
    if parsed.port is not None and not 0 < parsed.port < 65_536:
        raise ValueError("must have a port from 1 to 65535")
    return url


# A string, not a URL type, because the signature covers the exact spelling. The signature is a
# secret, so `repr` does not show the URL.
SignedUrl = Annotated[str, AfterValidator(_http_url), Field(max_length=8192, repr=False)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Timed(_Part):
    """A section of the reference voice, in seconds from its beginning."""

    start_time: Seconds = 0.0
    end_time: Seconds

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.end_time < self.start_time:
            raise ValueError("end_time must not be before start_time")
        return self


class Word(_Timed):
    """One word of a script."""

    text: str = Field(min_length=1, max_length=200)


class Script(_Timed):
    """One sentence of a token. Without words, the sentence is compared as one word."""

    text: str = Field(min_length=1, max_length=5_000)
    language_code: str | None = Field(
        None, max_length=35, description="BCP-47. If missing or empty, guessed from the text."
    )
    words: tuple[Word, ...] = Field((), max_length=1_000)

    def timed_words(self) -> tuple[Word, ...]:
        """The words, or the sentence as one word if the script has no words."""
        sentence = Word.model_construct(
            text=self.text, start_time=self.start_time, end_time=self.end_time
        )
        return self.words or (sentence,)


class Asset(_Part):
    """A file in S3."""

    url: SignedUrl


class ReferenceAssets(_Part):
    """The reference assets of a token. The analyzer uses only the voice."""

    voice: Asset | None = None


class Token(_Part):
    """The token of the take."""

    reference_assets: ReferenceAssets = ReferenceAssets()
    scripts: tuple[Script, ...] = Field(min_length=1, max_length=100)


class AnalysisRequest(_Part):
    """A request to analyse a recording and report the results to a webhook."""

    job_id: UUID
    audio_url: SignedUrl
    webhook_url: SignedUrl
    token: Token
