"""Reports of the analysis server: unsigned, oversized, and results that cannot be read back."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx

from attack.answers import Answers
from attack.model import Outcome
from attack.target import Target, take

_WEBHOOK = "/tokens/webhook/analysis-complete"
_NOBODY = {"job_id": "00000000-0000-4000-8000-000000000000", "signature": "x"}
_JSON = {"content-type": "application/json"}
_LARGE_BYTES = 8 * 1024**2 - 1024
_LARGE_REPORTS = 8
# A client that sends its whole body before it reads gets the answer when the gateway closes the
# connection: 5 s after it has answered.
_CLOSE_SECONDS = 7.0
_END_SECONDS = 12.0
_DEPTHS = (34, 40, 60, 90, 200, 5000)


def unsigned_large_reports(target: Target) -> Outcome:
    """Reports of 8 MiB without a valid signature, at the same time."""
    numbers = ",".join(["0.123456"] * (_LARGE_BYTES // 9))
    body = f'{{"analysis_results":{{"pitch":[{numbers}]}}}}'.encode()
    answers = Answers()

    def send(_: int) -> None:
        with target.http() as client:
            answers.http(
                "8 MiB", lambda: client.post(_WEBHOOK, params=_NOBODY, content=body, headers=_JSON)
            )

    with ThreadPoolExecutor(_LARGE_REPORTS) as executor:
        list(executor.map(send, range(_LARGE_REPORTS)))
    return answers.outcome(slow_seconds=_CLOSE_SECONDS)


def unsigned_deep_reports(target: Target) -> Outcome:
    """Deeply nested reports without a valid signature: never an error of the server."""
    answers = Answers()
    with target.http() as client:
        for depth in _DEPTHS:
            answers.http(
                f"{depth} levels",
                partial(client.post, _WEBHOOK, params=_NOBODY, content=_deep(depth), headers=_JSON),
            )
    return answers.outcome()


def signed_unreadable_reports(target: Target) -> Outcome:
    """Reports with a valid signature whose results cannot be stored."""
    target.analysis_server.answer = (202, b'{"status": "accepted"}')
    job_id = str(target.upload(take(7)).json()["job_id"])
    url = target.analysis_server.dispatch(job_id)["webhook_url"]
    answers = Answers()
    with target.http() as client:
        for name, results in _unreadable().items():
            answers.http(
                name,
                partial(client.post, url, content=results, headers=_JSON),
                {400, 413, 422},
            )
        answers.http("result", lambda: client.get(f"/tokens/analysis-result/{job_id}"), {200})
    return answers.outcome()


def unreadable_synchronous_answers(target: Target) -> Outcome:
    """Answers to dispatches with such results: the job ends, and can be read."""
    answers = Answers()
    for name, results in _unreadable().items():
        target.analysis_server.answer = (200, results)
        job_id = target.upload(take(8)).json()["job_id"]
        target.analysis_server.dispatch(job_id)
        with target.http() as client:
            path = f"/tokens/analysis-result/{job_id}"
            _wait_for_end(client, path)
            answers.http(name, partial(client.get, path), {200})
            answers.http(name, partial(client.get, f"/analyses/{job_id}"), {200})
    return answers.outcome()


def _wait_for_end(client: httpx.Client, path: str) -> None:
    deadline = time.monotonic() + _END_SECONDS / len(_unreadable())
    while time.monotonic() < deadline:
        answer = client.get(path)
        if answer.is_error or answer.json()["status"] != "processing":
            return
        time.sleep(0.05)


def _unreadable() -> dict[str, bytes]:
    return {
        "NaN": b'{"analysis_results": {"overall_score": 90, "pitch": [1.0, NaN]}}',
        "Infinity": b'{"analysis_results": {"overall_score": -Infinity}}',
        "1e999": b'{"analysis_results": {"overall_score": 1e999}}',
        "40 levels": _deep(40),
        "lone surrogate": b'{"analysis_results": {"text": "\\ud800"}}',
    }


def _deep(levels: int) -> bytes:
    return b'{"analysis_results":{"a":' + b"[" * levels + b"1" + b"]" * levels + b"}}"
