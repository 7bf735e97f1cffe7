"""After a loss of all data, the operators' scripts restore the last back-up."""

from __future__ import annotations

import pytest

from stack.drill import After, Before, drill


@pytest.fixture(scope="module")
def drill_result(tmp_path_factory: pytest.TempPathFactory) -> tuple[Before, After]:
    return drill(tmp_path_factory.mktemp("drill"))


def test_every_job_of_the_back_up_completes(drill_result: tuple[Before, After]) -> None:
    _, after = drill_result
    assert after.done == "completed, score 90"
    assert after.dispatched == "completed, score 90", "its webhook_url is older than the loss"
    assert after.queued == "completed, score 90"


def test_no_job_is_dispatched_twice(drill_result: tuple[Before, After]) -> None:
    before, after = drill_result
    for job_id in (before.done, before.dispatched, before.queued):
        assert after.dispatches[job_id] == 1


def test_an_upload_resumes_or_asks_for_a_new_start(drill_result: tuple[Before, After]) -> None:
    _, after = drill_result
    assert after.small_upload == "UPLOAD_STATE_COMPLETED"
    assert "Upload again from the start." in after.large_upload, "S3 lost its parts"


def test_a_learner_stays_logged_in(drill_result: tuple[Before, After]) -> None:
    _, after = drill_result
    assert after.session == "learner@example.com"


def test_jobs_after_the_back_up_do_not_exist(drill_result: tuple[Before, After]) -> None:
    _, after = drill_result
    assert after.after_backup == "HTTP 404"
