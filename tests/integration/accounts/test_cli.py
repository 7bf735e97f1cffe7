"""The command line makes the first operator, and changes roles and keys."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest

from services.accounts.errors import SessionEnded
from services.accounts.models import Actor, Client
from services.accounts.resealing import Resealer
from services.accounts.sealing import Sealer, token_hash
from services.accounts.store import ClientStore, SealedStore
from tests.integration.accounts.service import HOME, Service

EMAIL = "dana@example.com"
SECRET, NEW_SECRET = "a secret of at least 32 characters", "the next secret of 32 characters"


@dataclass(frozen=True)
class Command:
    """The command line with a database."""

    database_url: str

    def run(self, *arguments: str, status: int = 0, **environment: str) -> str:
        """Run a command; returns what it prints. status: the expected exit status."""
        done = subprocess.run(
            [sys.executable, "-m", "services.accounts.cli", *arguments],
            env={
                **os.environ,
                "DATABASE_URL": self.database_url,
                "ACCOUNTS_SECRET": SECRET,
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return done.stdout


@pytest.fixture
def command(database_url: str) -> Command:
    return Command(database_url)


async def test_the_first_operator_sets_a_password_with_the_printed_link(
    service: Service, command: Command
) -> None:
    printed = command.run("create-operator", " Dana@Example.com")
    token = printed.rpartition("#token=")[2].strip()
    account = await service.parts.accounts.find(EMAIL)
    assert account is not None
    assert account.email_verified
    assert account.roles == ("operator",)
    purpose = await service.value(
        "SELECT purpose FROM accounts.mail_tokens WHERE token_hash = :hash AND expire_time > now()",
        hash=token_hash(token),
    )
    assert purpose == "reset_password"
    actor = await service.value("SELECT actor_id FROM accounts.audit")
    assert actor == "command"


async def test_an_account_with_a_password_keeps_it(service: Service, command: Command) -> None:
    account_id = await service.new_account(EMAIL)
    await service.execute("UPDATE accounts.accounts SET password_hash = 'x'")
    assert "#token=" not in command.run("create-operator", EMAIL)
    assert (await service.parts.accounts.get(account_id)).has_password


async def test_an_unverified_account_loses_its_password_before_it_becomes_an_operator(
    service: Service, command: Command
) -> None:
    account_id = await service.new_account(EMAIL)
    await service.execute(
        "UPDATE accounts.accounts SET password_hash = 'x', email_verified = false"
    )
    await service.execute(
        "INSERT INTO accounts.passkeys (passkey_id, account_id, credential_id, public_key)"
        " SELECT account_id, account_id, 'id', 'key' FROM accounts.accounts"
    )
    begun = await service.logged_in(account_id)
    assert "#token=" in command.run("create-operator", EMAIL)
    assert not (await service.parts.accounts.get(account_id)).has_passkey
    assert not (await service.parts.accounts.get(account_id)).has_password
    with pytest.raises(SessionEnded):
        await service.parts.sessions.refresh(begun.refresh_token, HOME)


async def test_roles_are_granted_listed_and_revoked(service: Service, command: Command) -> None:
    account_id = await service.new_account(EMAIL)
    line = f"{account_id} {EMAIL} catalog_editor\n"
    assert command.run("grant-role", EMAIL, "catalog_editor") == line
    assert command.run("list") == line
    assert command.run("list", "operator") == ""
    command.run("revoke-role", EMAIL, "catalog_editor")
    assert command.run("list") == ""


async def test_keys_are_revoked(service: Service, command: Command) -> None:
    before = service.parts.keys.public_keys()
    command.run("rotate-keys", "--revoke")
    await service.parts.keys.refresh()
    assert service.parts.keys.public_keys() != before


async def test_an_operator_erases_an_account_that_a_restore_brought_back(
    service: Service, command: Command
) -> None:
    account_id = await service.new_account(EMAIL)
    erasure_id = UUID(command.run("erase", str(account_id)).strip())
    assert (await service.parts.erasures.get(erasure_id)).account_id == account_id
    assert await service.value("SELECT actor_id FROM accounts.audit") == "command"
    command.run("erase", str(account_id), status=1)


async def test_the_credentials_of_a_client_are_revoked(service: Service, command: Command) -> None:
    client_id = uuid4()
    store = ClientStore(service.parts.database)
    await store.create(Client(client_id, b"hash", ()), "reports", Actor("command"))
    command.run("revoke-client", str(client_id))
    assert await store.find(client_id) is None
    command.run("revoke-client", str(client_id))
    command.run("revoke-client", str(uuid4()), status=1)


def test_an_unknown_address_is_refused(command: Command) -> None:
    command.run("grant-role", "nobody@example.com", "operator", status=1)


def test_a_malformed_address_is_refused(command: Command) -> None:
    command.run("create-operator", "dana", status=2)


async def test_everything_is_encrypted_again_so_that_the_former_secret_can_go(
    service: Service, command: Command
) -> None:
    await enrol(service, 3)
    replaced = command.run("reencrypt", ACCOUNTS_SECRET=NEW_SECRET, ACCOUNTS_SECRET_PREVIOUS=SECRET)
    assert "Encrypted 1 signing keys and 6 second factors again." in replaced
    assert "0 remain" in replaced
    # The former secret is not needed any more, and there is nothing left to do.
    repeated = command.run("reencrypt", ACCOUNTS_SECRET=NEW_SECRET)
    assert "Encrypted 0 signing keys and 0 second factors again." in repeated
    assert "0 remain" in repeated


async def test_values_of_an_unknown_secret_are_counted_and_kept(
    service: Service, command: Command
) -> None:
    await enrol(service, 1)
    printed = command.run("reencrypt", status=1, ACCOUNTS_SECRET=NEW_SECRET)
    assert "3 remain" in printed
    assert "set ACCOUNTS_SECRET_PREVIOUS" in printed
    command.run("reencrypt")


async def test_a_bulk_encryption_visits_every_account_in_batches(service: Service) -> None:
    await enrol(service, 5)
    store, sealer = SealedStore(service.parts.database), Sealer(NEW_SECRET, SECRET)
    counts = await Resealer(store, sealer, batch_size=2).factors()
    assert (counts.renewed, counts.remaining) == (10, 0)


async def test_a_secret_that_changes_during_the_bulk_encryption_is_kept(service: Service) -> None:
    await enrol(service, 1)
    store, sealer = SealedStore(service.parts.database), Sealer(NEW_SECRET, SECRET)
    [stale, _] = await store.factors(10, None)
    await service.execute("UPDATE accounts.accounts SET totp_secret = 'of a later enrolment'")
    assert await store.replace([(stale, sealer.renewed(stale.content, f"totp:{stale.row}"))]) == 0
    kept = await service.value("SELECT totp_secret FROM accounts.accounts")
    assert kept == b"of a later enrolment"


async def enrol(service: Service, number: int) -> None:
    """Insert accounts with an authenticator app, and another one that is being set up."""
    for _ in range(number):
        account_id = await service.new_account()
        await service.execute(
            "UPDATE accounts.accounts SET totp_secret = :secret, totp_pending_secret = :pending"
            " WHERE account_id = :id",
            secret=service.parts.sealer.seal(b"secret", f"totp:{account_id}"),
            pending=service.parts.sealer.seal(b"pending", f"totp:{account_id}"),
            id=account_id,
        )
