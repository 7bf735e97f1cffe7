"""The gateway follows the keys of the issuer, and keeps them while it does not respond."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.integration.gateway.fake_services import Services
from tests.integration.gateway.issuer import Key, bearer, claims, jwks
from tests.integration.gateway.process import Gateway, reason


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def fetched_again(services: Services) -> None:
    """Wait until the gateway has the keys that the issuer publishes now."""
    # The first of these may have begun before.
    before = services.accounts.served
    wait_until(lambda: services.accounts.served >= before + 2)


class Requests:
    """Requests that one thread sends, each with a new token of `key`."""

    def __init__(self, client: httpx.Client, key: Key) -> None:
        self.key = key
        self.statuses: list[int] = []
        self.is_stopped = threading.Event()
        self._client = client

    def send(self) -> None:
        while not self.is_stopped.is_set():
            token = self.key.signed(claims())
            self.statuses.append(self._client.get("/auth/me", headers=bearer(token)).status_code)


@contextmanager
def requests_while(gateway: Gateway, key: Key) -> Iterator[Requests]:
    with httpx.Client(base_url=f"http://{gateway.address}", timeout=20) as client:
        requests = Requests(client, key)
        thread = threading.Thread(target=requests.send)
        thread.start()
        try:
            yield requests
        finally:
            requests.is_stopped.set()
            thread.join()


@pytest.fixture
def gateway(tmp_path: Path, own_services: Services) -> Gateway:
    return Gateway(tmp_path, own_services, gateway_jwks_seconds=1)


def test_keys_rotate_without_a_refused_request(gateway: Gateway, own_services: Services) -> None:
    former, following = own_services.key, Key("2")
    with gateway.running(), requests_while(gateway, former) as requests:
        wait_until(lambda: len(requests.statuses) > 5)
        own_services.accounts.keys = jwks(former, following)
        fetched_again(own_services)
        requests.key = following
        sent = len(requests.statuses)
        wait_until(lambda: len(requests.statuses) > sent + 5)
        own_services.accounts.keys = jwks(following)
        fetched_again(own_services)
        sent = len(requests.statuses)
        wait_until(lambda: len(requests.statuses) > sent + 5)
    assert set(requests.statuses) == {200}


def test_a_withdrawn_key_is_refused(gateway: Gateway, own_services: Services) -> None:
    with gateway.running() as client:
        own_services.accounts.keys = jwks(Key("2"))
        fetched_again(own_services)
        token = bearer(own_services.key.signed(claims()))
        wait_until(lambda: client.get("/auth/me", headers=token).status_code == 401)


def test_accounts_are_known_while_their_service_does_not_respond(
    gateway: Gateway, own_services: Services
) -> None:
    with gateway.running() as client:
        token = bearer(own_services.key.signed(claims()))
        assert client.get("/tokens/1", headers=token).status_code == 200
        own_services.accounts.fails = True
        before = own_services.accounts.refused
        wait_until(lambda: own_services.accounts.refused > before + 2)
        other = bearer(own_services.key.signed(claims()))
        assert client.get("/tokens/1", headers=other).status_code == 200


def test_a_token_waits_for_keys_that_never_came(gateway: Gateway, own_services: Services) -> None:
    """The token may be valid, so it is not refused."""
    own_services.accounts.fails = True
    with gateway.running() as client:
        token = bearer(own_services.key.signed(claims()))
        answer = client.get("/tokens/1", headers=token)
        assert (answer.status_code, reason(answer)) == (503, "SERVICE_UNAVAILABLE")
        assert answer.headers["retry-after"]
        assert client.get("/tokens/1").status_code == 200
        own_services.accounts.fails = False
        wait_until(lambda: client.get("/tokens/1", headers=token).status_code == 200)
