"""The reasons for which an analysis fails, each with a message for the learner."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The `reason` in a failure report."""

    UNDECODABLE_AUDIO = "UNDECODABLE_AUDIO"
    EMPTY_AUDIO = "EMPTY_AUDIO"
    SILENT_AUDIO = "SILENT_AUDIO"
    AUDIO_TOO_LONG = "AUDIO_TOO_LONG"
    AUDIO_UNAVAILABLE = "AUDIO_UNAVAILABLE"
    REFERENCE_UNAVAILABLE = "REFERENCE_UNAVAILABLE"
    ANALYSIS_CRASHED = "ANALYSIS_CRASHED"
    WORKER_DIED = "WORKER_DIED"


_MESSAGES = {
    Reason.UNDECODABLE_AUDIO: "The recording can't be decoded. Record it again.",
    Reason.EMPTY_AUDIO: "The recording contains no audio. Record it again.",
    Reason.SILENT_AUDIO: "The recording is silent. Check the microphone and record again.",
    Reason.AUDIO_TOO_LONG: "The recording is too long. Record only the sentences of the clip.",
    Reason.AUDIO_UNAVAILABLE: "The recording can't be downloaded. Upload it again.",
    Reason.REFERENCE_UNAVAILABLE: (
        "The reference voice of this token can't be used. Choose another token."
    ),
    Reason.ANALYSIS_CRASHED: "The analysis failed. Upload the recording again.",
    Reason.WORKER_DIED: "This recording can't be analysed. Record it again.",
}


class AnalysisFailure(Exception):
    """The analysis ends without a result. The report contains the reason.

    Can be pickled, because worker processes raise it.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason

    @property
    def message(self) -> str:
        """What went wrong and what to do, in one or two English sentences."""
        return _MESSAGES[self.reason]
