"""Signing keys: all replicas agree on them, and they change without a gap."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import grpc
import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from prometheus_client import REGISTRY
from pydantic import SecretStr

from services.accounts.errors import KeysUnavailable
from services.accounts.key_ring import KeyRing
from services.accounts.metrics import KeyMetrics
from services.accounts.sealing import Sealer
from services.accounts.settings import AccountsSettings
from services.accounts.store import KeyStore
from services.runtime.database import Database
from sori.accounts.v1 import accounts_pb2 as pb
from tests.integration.accounts.service import Service, of_nobody, reason_of


def replica(settings: AccountsSettings, database: Database, secret: str = "") -> KeyRing:
    """The keys of a further process. secret: default: the same as that of the service."""
    sealer = Sealer(secret or settings.accounts_secret.get_secret_value())
    return KeyRing(settings, KeyStore(database), sealer)


def verified(token: str, published: str) -> bool:
    """Whether a token is signed with one of the published keys."""
    keys = KeySet.import_key_set(json.loads(published))
    try:
        jwt.decode(token, keys, algorithms=["ES256"])
    except JoseError:
        return False
    return True


def kids(published: str) -> Sequence[str]:
    return [key["kid"] for key in json.loads(published)["keys"]]


async def shift(service: Service, minutes: int) -> None:
    """Let time pass for the keys."""
    await service.execute(
        "UPDATE accounts.signing_keys"
        " SET activate_time = activate_time - make_interval(mins => :minutes)",
        minutes=minutes,
    )


async def test_replicas_that_start_together_create_one_key(
    service: Service, settings: AccountsSettings, database: Database
) -> None:
    await service.execute("TRUNCATE accounts.signing_keys")
    rings = [replica(settings, database) for _ in range(5)]
    await asyncio.gather(*(ring.refresh() for ring in rings))
    assert len({ring.public_keys() for ring in rings}) == 1
    assert verified(rings[0].signer().sign("account", []), rings[1].public_keys())


async def test_tokens_are_verified_throughout_a_rotation(
    service: Service, settings: AccountsSettings, database: Database
) -> None:
    signing, verifying = replica(settings, database), replica(settings, database)
    await signing.refresh()
    await verifying.refresh()
    before = signing.signer().sign("account", [])
    await signing.rotate_now(revoke=False)
    published = signing.public_keys()
    first, second = kids(published)
    # The verifier reads the keys when the next one is published, before its first use.
    assert verified(signing.signer().sign("account", []), verifying.public_keys())
    await shift(service, 11)
    await signing.refresh()
    after = signing.signer().sign("account", [])
    assert verified(after, published)
    assert not verified(after, verifying.public_keys())
    assert verified(before, signing.public_keys())
    await shift(service, 20)
    await signing.refresh()
    assert kids(signing.public_keys()) == [second]
    assert first != second


async def test_refreshes_succeed_while_keys_rotate(service: Service) -> None:
    begun = await service.logged_in(await service.new_account())
    token, published = begun.refresh_token, {service.parts.keys.public_keys()}
    for _ in range(3):
        await service.parts.keys.rotate_now(revoke=False)
        published.add(service.parts.keys.public_keys())
        await shift(service, 11)
        await service.parts.keys.refresh()
        tokens = await service.rpcs.Refresh(
            pb.RefreshRequest(refresh_token=token), metadata=of_nobody()
        )
        token = tokens.refresh_token
        assert any(verified(tokens.access_token, each) for each in published)
    assert len(await service.value("SELECT array_agg(kid) FROM accounts.signing_keys")) == 3


async def test_revoked_keys_are_no_longer_published_or_used(service: Service) -> None:
    keys = service.parts.keys
    stolen = keys.signer().sign("account", [])
    await keys.rotate_now(revoke=True)
    assert not verified(stolen, keys.public_keys())
    assert verified(keys.signer().sign("account", []), keys.public_keys())


async def test_a_process_with_another_secret_cannot_sign(
    service: Service, settings: AccountsSettings, database: Database
) -> None:
    ring = replica(settings, database, "another secret of at least 32 characters")
    await ring.refresh()
    with pytest.raises(KeysUnavailable):
        await ring.probe()


async def test_a_process_whose_clock_is_behind_signs_with_the_first_key(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = service.parts.keys
    (first,) = keys._keys
    later = first.activate_time + timedelta(minutes=2)
    monkeypatch.setattr(keys, "_keys", [replace(first, activate_time=later)])
    assert verified(keys.signer().sign("account", []), keys.public_keys())


async def test_private_keys_are_not_readable_in_the_database(service: Service) -> None:
    key = service.parts.keys._private_key(kids(service.parts.keys.public_keys())[0])
    assert key is not None
    secret = str(key.as_dict(private=True)["d"])
    row = await service.value("SELECT k::text FROM accounts.signing_keys k")
    assert secret not in row
    assert secret.encode().hex() not in row


async def test_the_keys_and_the_discovery_document_are_json(
    service: Service, settings: AccountsSettings
) -> None:
    keys = await service.rpcs.GetKeys(pb.GetKeysRequest(), metadata=of_nobody())
    assert keys.content_type == "application/json"
    assert kids(keys.data.decode())
    found = await service.rpcs.GetDiscovery(pb.GetDiscoveryRequest(), metadata=of_nobody())
    document = json.loads(found.data)
    assert document["issuer"] == settings.issuer == "http://localhost:8000"
    assert document["jwks_uri"] == "http://localhost:8000/.well-known/jwks.json"


async def test_the_keys_can_be_read_over_http_and_cached_for_a_minute(service: Service) -> None:
    metadata = of_nobody(
        x_envoy_original_path="/.well-known/jwks.json", x_envoy_original_method="GET"
    )
    call = service.rpcs.GetKeys(pb.GetKeysRequest(), metadata=metadata)
    assert (await call).data
    assert dict(await call.initial_metadata())["cache-control"] == "public, max-age=60"


async def test_without_a_key_a_refresh_fails_and_the_token_stays_valid(
    service: Service, settings: AccountsSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = await service.logged_in(await service.new_account())
    request = pb.RefreshRequest(refresh_token=begun.refresh_token)
    monkeypatch.setattr(service.parts.keys, "_keys", ())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.rpcs.Refresh(request, metadata=of_nobody())
    assert reason_of(refused.value) == "KEYS_UNAVAILABLE"
    await service.parts.keys.refresh()
    assert (await service.rpcs.Refresh(request, metadata=of_nobody())).access_token


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        AccountsSettings(accounts_secret=SecretStr("short"))


async def test_a_key_that_is_not_replaced_in_time_is_a_metric(
    service: Service, settings: AccountsSettings, database: Database
) -> None:
    ring = replica(settings, database)
    metrics = KeyMetrics(ring)
    await metrics.refresh()
    assert REGISTRY.get_sample_value("sori_accounts_can_sign") == 0
    await ring.refresh()
    await metrics.refresh()
    assert REGISTRY.get_sample_value("sori_accounts_can_sign") == 1
    assert REGISTRY.get_sample_value("sori_accounts_signing_key_overdue_seconds") == 0
    await shift(service, minutes=int(settings.signing_key_seconds) // 60 + 120)
    await ring.refresh()
    await metrics.refresh()
    late = REGISTRY.get_sample_value("sori_accounts_signing_key_overdue_seconds")
    assert late == pytest.approx(7200, abs=300)
