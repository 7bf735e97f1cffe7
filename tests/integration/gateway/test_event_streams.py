"""An EventSource survives a restart of the analysis service, and stops after the end.

It gives up for good after any response but 200, and reconnects after a normal end.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import yaml

from tests.integration.gateway.fake_services import Services
from tests.integration.gateway.name_server import NameServer
from tests.integration.gateway.process import Gateway, reason, wait_for_status

PROGRESS = "/tokens/analysis-progress"
CARES = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"


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


def test_a_watch_waits_while_the_service_has_no_address(
    tmp_path: Path, own_services: Services
) -> None:
    with closing(NameServer()) as names:
        port = own_services.address.partition(":")[2]
        gateway = Gateway(tmp_path, own_services, analysis_address=f"analysis.test:{port}")
        use_name_server(gateway, names)
        with gateway.running(status=503) as client, ThreadPoolExecutor(1) as executor:
            answer = executor.submit(client.get, f"{PROGRESS}/completed", timeout=60)
            assert reason(client.get("/analyses/1")) == "SERVICE_UNAVAILABLE"
            assert not answer.done()
            names.addresses = ["127.0.0.1"]
            assert answer.result().status_code == 200


def use_name_server(gateway: Gateway, names: NameServer) -> None:
    """Make Envoy resolve all names with a name server."""
    path = Path(gateway.configuration)
    address = {"socket_address": {"address": "127.0.0.1", "port_value": names.port}}
    resolver = {
        "name": "envoy.network.dns_resolver.cares",
        "typed_config": {
            "@type": CARES,
            "resolvers": [address],
            "use_resolvers_as_fallback": False,
        },
    }
    configuration = yaml.safe_load(path.read_text()) | {"typed_dns_resolver_config": resolver}
    path.write_text(yaml.safe_dump(configuration))
