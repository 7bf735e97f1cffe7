"""An EventSource survives a restart of the analysis service, and stops after the end.

It gives up for good after any response but 200, and reconnects after a normal end.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.integration.gateway.fake_services import Services
from tests.integration.gateway.process import Gateway, reason, wait_for_status

PROGRESS = "/tokens/analysis-progress"


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_only_the_last_event_has_an_id(client: httpx.Client, status: str) -> None:
    events = client.get(f"{PROGRESS}/{status}").text.split("\n\n")
    *others, last, after = events
    assert [event.startswith("data: {") for event in others] == [True, True]
    first_line, data = last.split("\n")
    assert first_line == "id: end"
    assert json.loads(data.removeprefix("data: "))["status"] == status
    assert after == ""


def test_a_client_that_received_the_end_must_not_reconnect(client: httpx.Client) -> None:
    answer = client.get(f"{PROGRESS}/completed", headers={"last-event-id": "end"})
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_client_that_did_not_receive_the_end_watches_again(client: httpx.Client) -> None:
    answer = client.get(f"{PROGRESS}/completed", headers={"last-event-id": "3"})
    assert answer.status_code == 200


def test_a_watch_waits_while_the_service_restarts(tmp_path: Path, own_services: Services) -> None:
    gateway = Gateway(tmp_path, own_services)
    with gateway.running() as client, ThreadPoolExecutor(1) as executor:
        own_services.stop_serving()
        wait_for_status(client, "/healthz", 503)
        # Other calls end after their last retry.
        assert reason(client.get("/analyses/1")) == "SERVICE_UNAVAILABLE"
        answer = executor.submit(client.get, f"{PROGRESS}/completed")
        assert reason(client.get("/analyses/1")) == "SERVICE_UNAVAILABLE"
        own_services.serve()
        assert answer.result().status_code == 200
