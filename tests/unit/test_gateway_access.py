"""The gateway reads who may call an rpc from the contract."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from pydantic import ValidationError

from gateway.access import ROLES, Access, policies, read_access
from gateway.local_replies import LOCAL_REPLIES
from gateway.render import write_configuration
from gateway.settings import GatewaySettings
from services.registry import ACCOUNTS, SERVICES
from services.runtime import access as runtime
from services.runtime.callers import CATALOG_EDITOR, OPERATOR
from services.runtime.shared_errors import CredentialsMissing, RoleMissing
from sori.access.v1 import access_pb2

DESCRIPTOR = GatewaySettings().gateway_descriptor
PUBLIC = [name for service in SERVICES for name in service.public]
INTERNAL = [name for service in SERVICES for name in service.internal]
ISSUER = {
    "name": "keycloak",
    "issuer": "https://id.example/realms/sori",
    "jwks_uri": "https://id.example/keys",
    "audience": "sori",
}


def changed(tmp_path: Path, rpc: str, access: Any) -> Path:
    """The contract with another access of an rpc; None removes the option."""
    files = FileDescriptorSet.FromString(DESCRIPTOR.read_bytes())
    for file in files.file:
        for service in file.service:
            for method in service.method:
                if rpc == f"/{file.package}.{service.name}/{method.name}":
                    method.options.ClearExtension(access_pb2.access)
                    if access is not None:
                        method.options.Extensions[access_pb2.access] = access
    path = tmp_path / "changed.binpb"
    path.write_bytes(files.SerializeToString())
    return path


def test_every_public_rpc_states_its_access() -> None:
    found = read_access(DESCRIPTOR, PUBLIC)
    assert found["/sori.catalog.v1.CatalogService/GetToken"] is Access.PUBLIC
    assert found["/sori.catalog.v1.CatalogService/DeleteToken"] is Access.CATALOG_EDITOR
    assert found["/sori.accounts.v1.AccountService/GetMe"] is Access.ACCOUNT


@pytest.mark.parametrize("service", INTERNAL)
def test_an_internal_service_cannot_become_public(service: str) -> None:
    with pytest.raises(ValueError, match=re.escape(service)):
        read_access(DESCRIPTOR, [service])


@pytest.mark.parametrize("access", [None, access_pb2.ACCESS_INTERNAL, 77])
def test_an_rpc_without_access_fails_the_rendering(tmp_path: Path, access: Any) -> None:
    rpc = "/sori.catalog.v1.CatalogService/GetToken"
    settings = GatewaySettings(gateway_descriptor=changed(tmp_path, rpc, access))
    with pytest.raises(ValueError, match=rpc):
        write_configuration(settings, tmp_path)


def test_the_levels_are_those_of_the_contract() -> None:
    stated = {name.removeprefix("ACCESS_") for name in access_pb2.Access.keys()}  # noqa: SIM118 (it is no dict)
    assert set(Access.__members__) == stated - {"UNSPECIFIED", "INTERNAL"}


def test_the_roles_are_those_of_the_services() -> None:
    assert {*ROLES} == {CATALOG_EDITOR, OPERATOR}


def test_the_headers_are_those_of_the_services(tmp_path: Path) -> None:
    text = write_configuration(GatewaySettings(), tmp_path).read_text(encoding="utf-8")
    for header in (runtime.CALLER, runtime.ACCOUNT, runtime.ROLES, runtime.GUEST_TOKEN):
        assert f'replace(\\"{header}\\"' in text


def test_every_rpc_has_one_policy() -> None:
    found = read_access(DESCRIPTOR, PUBLIC)
    for guests in (True, False):
        for public in (True, False):
            rpcs = [
                rpc
                for each in policies(found, guests=guests, public_catalog=public).values()
                for rpc in each
            ]
            assert sorted(rpcs) == sorted(found)


def configuration(tmp_path: Path, **settings: Any) -> Any:
    path = write_configuration(GatewaySettings.model_validate(settings), tmp_path)
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_a_gateway_without_accounts_exposes_none_of_it(tmp_path: Path) -> None:
    text = json.dumps(configuration(tmp_path, gateway_accounts=False)["static_resources"])
    assert not [name for name in ACCOUNTS.public if name in text]
    assert "jwt_authn.v3" not in text


def test_an_external_issuer_is_fetched_from_the_host_of_its_certificate(tmp_path: Path) -> None:
    resources = configuration(tmp_path, gateway_issuers=json.dumps([ISSUER]))["static_resources"]
    (cluster,) = [each for each in resources["clusters"] if each["name"] == "issuer-keycloak"]
    tls = cluster["transport_socket"]["typed_config"]
    validation = tls["common_tls_context"]["validation_context"]
    assert tls["sni"] == "id.example"
    assert validation["match_typed_subject_alt_names"][0]["matcher"] == {"exact": "id.example"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "sori"}, "reserved"),
        ({"name": "Keycloak"}, "name"),
        ({"jwks_uri": "http://id.example/keys"}, "https"),
        ({"jwks_uri": "file:///keys"}, "https"),
        ({"roles": {"admin": "root"}}, "roles"),
        ({"audience": ""}, "audience"),
        ({"issuer": "a\nb"}, "issuer"),
        ({"typo": "x"}, "typo"),
    ],
)
def test_an_issuer_that_cannot_work_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        GatewaySettings.from_environment({"GATEWAY_ISSUERS": json.dumps([ISSUER | changes])})


def test_two_issuers_need_different_names() -> None:
    with pytest.raises(ValidationError, match="same name"):
        GatewaySettings.from_environment({"GATEWAY_ISSUERS": json.dumps([ISSUER, ISSUER])})


def test_anonymous_roles_must_exist() -> None:
    with pytest.raises(ValidationError, match="root"):
        GatewaySettings(gateway_anonymous_roles="operator root")


@pytest.mark.parametrize("error", [CredentialsMissing, RoleMissing])
def test_learners_read_the_same_from_gateway_and_services(
    error: type[CredentialsMissing | RoleMissing],
) -> None:
    (reply,) = [each for each in LOCAL_REPLIES if each.reason == error.reason]
    assert (reply.korean, reply.english) == (error.learner.korean, error.learner.english)
