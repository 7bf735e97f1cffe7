"""Schemas of the OpenAPI document that are not messages of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

_SCORE: Json = {"type": "number", "minimum": 0, "maximum": 100, "example": 87.5}
_CONTOUR: Json = {
    "type": "array",
    "items": {"type": "number", "nullable": True},
    "example": [None, 182.4, 184.1],
}
_DURATION: Json = {"type": "number", "minimum": 0, "example": 5.28}


def _found_time(what: str) -> Json:
    return _DURATION | {
        "nullable": True,
        "description": f"{what} of the word in the recording; null if it was not found.",
    }


def _required(schema: Json) -> Json:
    return {"type": "object", "required": list(schema["properties"])} | schema


STATIC_SCHEMAS: Mapping[str, Json] = {
    "Status": {
        "type": "object",
        "description": "An error: a google.rpc.Status.",
        "required": ["code", "message", "details"],
        "properties": {
            "code": {
                "type": "integer",
                "description": "The gRPC status code.",
                "minimum": 1,
                "maximum": 16,
                "example": 5,
            },
            "message": {
                "type": "string",
                "description": "A sentence for developers.",
                "example": "Token 9 does not exist. Use the id of an existing token.",
            },
            "details": {
                "type": "array",
                "description": "google.rpc.ErrorInfo first; then google.rpc.LocalizedMessage, and"
                " google.rpc.BadRequest if fields are invalid.",
                "items": {"$ref": "#/components/schemas/StatusDetail"},
            },
        },
    },
    "StatusDetail": {
        "type": "object",
        "description": "A part of an error. `@type` says which properties it has.",
        "required": ["@type"],
        "properties": {
            "@type": {
                "type": "string",
                "description": "The type, such as type.googleapis.com/google.rpc.ErrorInfo.",
                "example": "type.googleapis.com/google.rpc.ErrorInfo",
            },
            "reason": {
                "type": "string",
                "description": "ErrorInfo: the reason, for programs to decide by.",
                "example": "TOKEN_NOT_FOUND",
            },
            "domain": {
                "type": "string",
                "description": 'ErrorInfo: always "sori".',
                "example": "sori",
            },
            "metadata": {
                "type": "object",
                "description": "ErrorInfo: facts about the error by name.",
                "additionalProperties": {"type": "string"},
                "example": {"token_id": "9"},
            },
            "locale": {
                "type": "string",
                "description": "LocalizedMessage: the language of `message`.",
                "example": "en",
            },
            "message": {
                "type": "string",
                "description": "LocalizedMessage: a sentence for the learner.",
                "example": "Token 9 does not exist. Check its number.",
            },
            "field_violations": {
                "type": "array",
                "description": "BadRequest: the invalid fields.",
                "items": {"$ref": "#/components/schemas/FieldViolation"},
                "example": [],
            },
        },
    },
    "FieldViolation": {
        "type": "object",
        "description": "An invalid field of a request.",
        "required": ["field", "description"],
        "properties": {
            "field": {
                "type": "string",
                "description": "The path of the field in the request.",
                "example": "actor.name",
            },
            "description": {
                "type": "string",
                "description": "How to correct it.",
                "example": "must not be empty",
            },
        },
    },
    "AnalysisOutput": {
        "description": "The result that the analysis server reported.",
        "anyOf": [
            {"$ref": "#/components/schemas/ReferenceAnalyzerOutput"},
            {"$ref": "#/components/schemas/OtherAnalyzerOutput"},
        ],
    },
    "OtherAnalyzerOutput": {
        "type": "object",
        "description": "The result of another analysis server: any JSON object.",
        "additionalProperties": True,
        "example": {"score": 87},
    },
    "ReferenceAnalyzerOutput": _required(
        {
            "description": "The result of the reference analyzer: scores from 0 to 100, times in"
            " seconds.",
            "properties": {
                "analyzer_version": {
                    "type": "string",
                    "description": "The version of the analyzer.",
                    "example": "1",
                },
                "overall_score": _SCORE
                | {
                    "description": "The weighted mean: pronunciation 0.5, pitch 0.2, timing 0.2,"
                    " energy 0.1."
                },
                "pronunciation_score": _SCORE | {"description": "How well the words were spoken."},
                "pitch_score": _SCORE | {"description": "How similar the pitch contours are."},
                "timing_score": _SCORE | {"description": "How similar rhythm and tempo are."},
                "energy_score": _SCORE | {"description": "How similar the loudness contours are."},
                "duration": _DURATION | {"description": "The length of the recording."},
                "reference_duration": _DURATION
                | {"description": "The length of the reference voice."},
                "pitch": {
                    "allOf": [{"$ref": "#/components/schemas/PitchContours"}],
                    "description": "Both pitch contours.",
                },
                "words": {
                    "type": "array",
                    "description": "The words of the token's scripts, in order.",
                    "items": {"$ref": "#/components/schemas/WordScore"},
                },
            },
        }
    ),
    "PitchContours": _required(
        {
            "description": "Pitch contours in Hz.",
            "properties": {
                "frame_step": {
                    "type": "number",
                    "description": "The time between two values, in seconds.",
                    "example": 0.01,
                },
                "recording": _CONTOUR
                | {"description": "The recording's contour; null where it is unvoiced."},
                "reference": _CONTOUR
                | {"description": "The reference voice's contour; null where it is unvoiced."},
            },
        }
    ),
    "WordScore": _required(
        {
            "description": "The score of one word.",
            "properties": {
                "text": {"type": "string", "description": "The word.", "example": "disposed"},
                "start_time": _found_time("Start"),
                "end_time": _found_time("End"),
                "reference_start_time": _DURATION
                | {"description": "Start of the word in the reference voice."},
                "reference_end_time": _DURATION
                | {"description": "End of the word in the reference voice."},
                "score": _SCORE | {"description": "Pronunciation; 0 if it was not found."},
            },
        }
    ),
}
"""The schema of errors, and that of the reference analyzer's results, by name."""
