"""Why an analysis fails, and what the learner is told then."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """What the webhook carries as `reason`."""

    UNDECODABLE_AUDIO = "UNDECODABLE_AUDIO"
    EMPTY_AUDIO = "EMPTY_AUDIO"
    SILENT_AUDIO = "SILENT_AUDIO"
    AUDIO_TOO_LONG = "AUDIO_TOO_LONG"
    AUDIO_UNAVAILABLE = "AUDIO_UNAVAILABLE"
    REFERENCE_UNAVAILABLE = "REFERENCE_UNAVAILABLE"
    ANALYSIS_CRASHED = "ANALYSIS_CRASHED"


_SENTENCES = {
    Reason.UNDECODABLE_AUDIO: "The recording can't be decoded. Record again.",
    Reason.EMPTY_AUDIO: "The recording holds no audio. Record again.",
    Reason.SILENT_AUDIO: "No voice can be heard. Check the microphone and record again.",
    Reason.AUDIO_TOO_LONG: "The recording is too long. Record only the line.",
    Reason.AUDIO_UNAVAILABLE: "The recording can't be fetched. Upload it again.",
    Reason.REFERENCE_UNAVAILABLE: (
        "The reference voice of this token can't be used. Choose another token."
    ),
    Reason.ANALYSIS_CRASHED: "The analysis failed. Upload the recording again.",
}


class AnalysisFailure(Exception):
    """The analysis ends without a result, for a reason the learner is told.

    Survives pickling, since it crosses from worker processes.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason

    @property
    def sentence(self) -> str:
        """One English sentence or two that say what to do."""
        return _SENTENCES[self.reason]
