"""Sentences about uploads for the learner."""

from __future__ import annotations

from services.runtime.language import LearnerMessage

UPLOADED = LearnerMessage(
    "업로드 완료, 백그라운드에서 처리됩니다.",
    "Uploaded; it is being processed in the background.",
)
