"""Services learn from the gateway who calls, and from nobody else."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import trustme

from sori.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from tests.integration.gateway.callers import GUEST, connect, grpc_web
from tests.integration.gateway.fake_services import Services
from tests.integration.gateway.issuer import Key, bearer, claims, jwks, served_over_http
from tests.integration.gateway.process import Gateway, reason

GET_TOKEN = "/sori.catalog.v1.CatalogService/GetToken"
SPOOFED = {
    "x-sori-caller": "account",
    "X-Sori-Account": "victim",
    "x-sori-roles": "operator",
    "x-sori-guest-token": "stolen",
    "x-sori-session": "s",
    "x-sori-anything": "x",
    "x_sori_caller": "account",
}
REFRESH = "__Host-sori_refresh=secret"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, services: Services) -> Gateway:
    return Gateway(tmp_path_factory.mktemp("gateway"), services, gateway_anonymous_roles="")


def seen(client: httpx.Client, headers: dict[str, str] | list[tuple[str, str]]) -> dict[str, str]:
    """The metadata that a service gets."""
    answer = client.get("/tokens/1", headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, str] = json.loads(answer.json()["category"])
    return found


def identity(metadata: dict[str, str]) -> dict[str, str]:
    """The metadata with the prefix of the gateway."""
    start = "x-sori-"
    return {name.removeprefix(start): metadata[name] for name in metadata if start in name}


def test_http_clients_cannot_state_who_they_are(client: httpx.Client) -> None:
    assert identity(seen(client, SPOOFED)) == {"caller": "nobody"}


def test_grpc_clients_cannot_state_who_they_are(channel: grpc.Channel) -> None:
    stub = catalog_pb2_grpc.CatalogServiceStub(channel)
    spoofed = tuple((name.lower(), value) for name, value in SPOOFED.items())
    token = stub.GetToken(catalog_pb2.GetTokenRequest(id=1), metadata=spoofed)
    assert identity(json.loads(token.category)) == {"caller": "nobody"}


def test_grpc_web_clients_cannot_state_who_they_are(client: httpx.Client) -> None:
    request = catalog_pb2.GetTokenRequest(id=1).SerializeToString()
    _, body = grpc_web(client, GET_TOKEN, SPOOFED, request)
    token = catalog_pb2.Token.FromString(body[5 : 5 + int.from_bytes(body[1:5])])
    assert identity(json.loads(token.category)) == {"caller": "nobody"}


def test_connect_clients_cannot_state_who_they_are(client: httpx.Client) -> None:
    request = catalog_pb2.GetTokenRequest(id=1).SerializeToString()
    token = catalog_pb2.Token.FromString(connect(client, GET_TOKEN, SPOOFED, request).content)
    assert identity(json.loads(token.category)) == {"caller": "nobody"}


def test_an_account_is_stated_with_its_roles_and_session(
    client: httpx.Client, services: Services
) -> None:
    valid = claims("operator", "catalog_editor", "unknown")
    assert identity(seen(client, bearer(services.key.signed(valid)) | SPOOFED)) == {
        "caller": "account",
        "account": valid["sub"],
        "roles": "catalog_editor operator",
        "session": valid["sid"],
    }


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_of_a_token_is_case_insensitive(
    client: httpx.Client, services: Services, scheme: str
) -> None:
    headers = {"authorization": f"{scheme} {services.key.signed(claims())}"}
    assert identity(seen(client, headers))["caller"] == "account"


def test_no_service_sees_a_token(client: httpx.Client, services: Services) -> None:
    assert "authorization" not in seen(client, bearer(services.key.signed(claims())))


def test_another_scheme_is_no_credential(client: httpx.Client) -> None:
    metadata = seen(client, {"authorization": "Basic dTpw"})
    assert identity(metadata) == {"caller": "nobody"}
    assert "authorization" not in metadata


@pytest.mark.parametrize(
    "headers", [{"x-guest-token": GUEST}, {"cookie": f"a=b; sori_guest={GUEST}; c=d"}]
)
def test_a_guest_is_stated_with_the_secret(client: httpx.Client, headers: dict[str, str]) -> None:
    metadata = seen(client, headers)
    assert identity(metadata) == {"caller": "guest", "guest-token": GUEST}
    assert not {"x-guest-token", "cookie"} & set(metadata)


@pytest.mark.parametrize("secret", ["short", "a b" * 15, "x" * 129, "ㅅ" * 43])
def test_a_malformed_secret_is_no_guest(client: httpx.Client, secret: str) -> None:
    headers = [("cookie", f"sori_guest={secret}".encode())]
    assert identity(seen(client, headers)) == {"caller": "nobody"}  # type: ignore[arg-type]


def test_an_account_keeps_its_guest_token(client: httpx.Client, services: Services) -> None:
    headers = {**bearer(services.key.signed(claims())), "x-guest-token": GUEST}
    found = identity(seen(client, headers))
    assert (found["caller"], found["guest-token"]) == ("account", GUEST)


def test_callers_without_credentials_get_the_roles_of_the_setting(
    tmp_path: Path, services: Services
) -> None:
    gateway = Gateway(tmp_path, services, gateway_anonymous_roles=" catalog_editor")
    with gateway.running() as client:
        guest = {"x-guest-token": GUEST}
        assert identity(seen(client, {}))["roles"] == "catalog_editor"
        assert identity(seen(client, guest))["roles"] == "catalog_editor"
        learner = bearer(services.key.signed(claims()))
        assert identity(seen(client, learner))["roles"] == ""


@pytest.mark.parametrize(
    "path", ["/tokens/1", "/auth/../tokens/1", "//tokens/1", "/tokens/1?/auth/"]
)
def test_a_refresh_cookie_stays_away_from_other_paths(client: httpx.Client, path: str) -> None:
    answer = client.get(path, headers={"cookie": f"{REFRESH}; other=1"})
    if answer.status_code == 200:
        assert "cookie" not in json.loads(answer.json()["category"])
    assert "secret" not in answer.text


def refreshed(client: httpx.Client, cookie: str) -> dict[str, str]:
    answer = client.post("/auth/refresh", json={}, headers={"cookie": cookie})
    found: dict[str, str] = json.loads(answer.json()["access_token"])
    return found


def test_account_paths_get_the_cookies_of_accounts_only(client: httpx.Client) -> None:
    cookies = f"theme=dark; {REFRESH}; sori_guest={GUEST}; sori_login_0a=b; session=1"
    assert refreshed(client, cookies)["cookie"] == f"{REFRESH}; sori_login_0a=b"


def test_account_paths_without_such_cookies_get_none(client: httpx.Client) -> None:
    assert "cookie" not in refreshed(client, "theme=dark")


def test_a_service_can_redirect_a_browser(client: httpx.Client) -> None:
    answer = client.get("/auth/google/login?return_to=https://provider.example/authorize?a=b")
    assert answer.status_code == 302
    assert answer.headers["location"] == "https://provider.example/authorize?a=b"
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]


@pytest.fixture(scope="module")
def cookies(tmp_path_factory: pytest.TempPathFactory, services: Services) -> Iterator[httpx.Client]:
    """A gateway that accepts the access token in a cookie."""
    gateway = Gateway(
        tmp_path_factory.mktemp("cookies"),
        services,
        gateway_access_cookie="token",
        gateway_anonymous_roles="",
    )
    with gateway.running() as client:
        yield client


def test_a_setting_accepts_the_token_in_a_cookie(cookies: httpx.Client, services: Services) -> None:
    metadata = seen(cookies, {"cookie": f"a=b; token={services.key.signed(claims())}"})
    assert identity(metadata)["caller"] == "account"
    assert "cookie" not in metadata


def test_an_invalid_token_in_a_cookie_is_refused(cookies: httpx.Client) -> None:
    answer = cookies.get("/tokens/1", headers={"cookie": "token=invalid"})
    assert (answer.status_code, reason(answer)) == (401, "CREDENTIALS_INVALID")


def test_a_page_of_another_site_cannot_use_the_token_in_a_cookie(
    cookies: httpx.Client, services: Services
) -> None:
    token = services.key.signed(claims())
    headers = {"cookie": f"token={token}", "sec-fetch-site": "cross-site"}
    assert identity(seen(cookies, headers)) == {"caller": "nobody"}


def test_a_cookie_is_no_credential_by_default(client: httpx.Client, services: Services) -> None:
    headers = {"cookie": f"token={services.key.signed(claims())}"}
    assert identity(seen(client, headers)) == {"caller": "nobody"}


def issuers_at(url: str) -> str:
    """The setting with one issuer, whose keys are at a URL."""
    issuer = {
        "name": "keycloak",
        "issuer": "https://id.example/realms/a",
        "jwks_uri": url,
        "audience": "dubbing",
        "roles_claim": "realm_access.roles",
        "roles": {"sori-editor": "catalog_editor", '"\\관리자': "operator"},
    }
    return json.dumps([issuer])


@pytest.fixture(scope="module")
def company() -> Key:
    """The key of another issuer, which has the same id as ours."""
    return Key("1")


@pytest.fixture(scope="module")
def external(
    tmp_path_factory: pytest.TempPathFactory, services: Services, company: Key
) -> Iterator[httpx.Client]:
    """A gateway without the accounts service, in front of a company's own issuer."""
    with served_over_http(jwks(company)) as url:
        gateway = Gateway(
            tmp_path_factory.mktemp("external"),
            services,
            gateway_accounts=False,
            gateway_anonymous_roles="",
            gateway_issuers=issuers_at(url),
        )
        with gateway.running() as client:
            yield client


def of_company(**changes: object) -> dict[str, Any]:
    base = {"iss": "https://id.example/realms/a", "aud": ["a", "dubbing"], "sub": "anna@x"}
    return claims(**{**base, "roles": None, **changes})


def test_an_account_of_another_issuer_has_its_name(external: httpx.Client, company: Key) -> None:
    token = company.signed(of_company(realm_access={"roles": ["other", "sori-editor"]}))
    assert identity(seen(external, bearer(token))) == {
        "caller": "account",
        "account": "keycloak|anna@x",
        "roles": "catalog_editor",
    }


@pytest.mark.parametrize(
    ("granted", "roles"),
    [
        ({"realm_access": {"roles": "a sori-editor"}}, "catalog_editor"),
        ({"realm_access": {"roles": ['"\\관리자']}}, "operator"),
        ({"realm_access.roles": ["sori-editor"]}, "catalog_editor"),
        ({"realm_access": "sori-editor"}, ""),
        ({"realm_access": {"roles": {"a": "sori-editor"}}}, ""),
        ({"realm_access": {"roles": [["sori-editor"], 1, None]}}, ""),
        ({"roles": ["operator"]}, ""),
        ({}, ""),
    ],
)
def test_roles_follow_the_mapping_of_the_setting(
    external: httpx.Client, company: Key, granted: dict[str, object], roles: str
) -> None:
    token = company.signed(of_company(**granted))
    assert identity(seen(external, bearer(token)))["roles"] == roles


@pytest.mark.parametrize("changes", [{"aud": "sori"}, {"iss": "https://id.example/realms/b"}])
def test_another_issuer_must_name_its_audience(
    external: httpx.Client, company: Key, changes: dict[str, object]
) -> None:
    answer = external.get("/tokens/1", headers=bearer(company.signed(of_company(**changes))))
    assert (answer.status_code, reason(answer)) == (401, "CREDENTIALS_INVALID")


def test_without_the_accounts_service_its_tokens_and_paths_are_unknown(
    external: httpx.Client, services: Services
) -> None:
    answer = external.get("/tokens/1", headers=bearer(services.key.signed(claims())))
    assert (answer.status_code, reason(answer)) == (401, "CREDENTIALS_INVALID")
    assert external.get("/auth/me").status_code == 404


@pytest.mark.parametrize(("host", "status"), [("localhost", 200), ("other.example", 503)])
def test_keys_come_only_from_the_host_that_the_setting_names(
    tmp_path: Path, services: Services, company: Key, host: str, status: int
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(tls)
    with served_over_http(jwks(company), tls) as url:
        gateway = Gateway(
            tmp_path,
            services,
            gateway_issuers=issuers_at(url),
            gateway_issuers_ca_file=tmp_path / "ca.pem",
        )
        with gateway.running() as client:
            token = bearer(company.signed(of_company()))
            assert client.get("/tokens/1", headers=token).status_code == status
