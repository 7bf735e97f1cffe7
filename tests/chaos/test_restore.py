"""Everything is lost, the operators' scripts restore the last back-up, and the product goes on."""

from __future__ import annotations

import pytest

from stack.drill import After, Before, drill


@pytest.fixture(scope="module")
def drilled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Before, After]:
    return drill(tmp_path_factory.mktemp("drill"))


def test_every_job_of_the_back_up_reaches_its_end(drilled: tuple[Before, After]) -> None:
    _, after = drilled
    assert after.done == "completed, score 90"
    assert after.dispatched == "completed, score 90", "its webhook_url was made before the loss"
    assert after.queued == "completed, score 90"


def test_no_job_is_dispatched_again(drilled: tuple[Before, After]) -> None:
    before, after = drilled
    for job_id in (before.done, before.dispatched, before.queued):
        assert after.dispatches[job_id] == 1


def test_an_upload_goes_on_or_says_that_it_must_begin_anew(drilled: tuple[Before, After]) -> None:
    _, after = drilled
    assert after.small_upload == "UPLOAD_STATE_COMPLETED"
    assert "Upload again from the start." in after.large_upload, "parts are lost with the bucket"


def test_what_came_after_the_back_up_is_unknown(drilled: tuple[Before, After]) -> None:
    _, after = drilled
    assert after.after_backup == "HTTP 404"
