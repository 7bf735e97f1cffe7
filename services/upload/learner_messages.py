"""What a learner is told of an upload, in Korean and English."""

from __future__ import annotations

from services.runtime.language import Language

UPLOADED = {
    Language.KOREAN: "업로드 완료, 백그라운드에서 처리됩니다.",
    Language.ENGLISH: "Uploaded; it is being processed in the background.",
}
