"""Operate accounts: `python -m services.accounts.cli COMMAND`.

create-operator EMAIL  makes the account with this address an operator, and creates it if there is
                       none. Prints a link that sets the password, valid once, for a day.
grant-role EMAIL ROLE  grants "catalog_editor" or "operator".
revoke-role EMAIL ROLE revokes it, and ends the account's sessions.
erase ACCOUNT_ID       deletes an account as its learner can, and prints the id of the receipt.
revoke-client ID       refuses the credentials of an internal client from now on.
list [ROLE]            lists the accounts with a role; default: with any role.
rotate-keys            creates the next signing key; it signs in ten minutes.
rotate-keys --revoke   deletes all signing keys, for example after a theft: everyone gets new
                       access tokens by a refresh, once the gateway has read the new keys.
reencrypt              encrypts second factors and signing keys with the present ACCOUNTS_SECRET,
                       and prints how many still need another one; can be repeated.

The command connects to PostgreSQL (DATABASE_URL). `rotate-keys` and `reencrypt` also need
ACCOUNTS_SECRET and, while it is being replaced, ACCOUNTS_SECRET_PREVIOUS.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from pydantic import Field, HttpUrl

from services.accounts.errors import AccountNotFound
from services.accounts.key_ring import KeyRing
from services.accounts.links import RESET_PASSWORD, link
from services.accounts.models import Account, Actor, Role
from services.accounts.resealing import Resealer
from services.accounts.settings import AccountsSettings
from services.accounts.store import (
    AccountStore,
    ClientStore,
    ErasureStore,
    KeyStore,
    OperatorStore,
    RoleStore,
    SealedStore,
)
from services.registry import ACCOUNTS
from services.runtime.database import Database
from services.runtime.errors import DatabaseUnavailable
from services.runtime.settings import DatabaseSettings

PAGE_SIZE = 500
MAX_EMAIL_LENGTH = 254
_ACTOR = Actor("command")
_ROLES = [role.value for role in Role]


class CliSettings(DatabaseSettings):
    """The database, and where links lead."""

    app_url: HttpUrl = Field(
        HttpUrl("http://localhost:8000"),
        description="URL of the web app, to which links in mails and logins at providers lead.",
    )


async def create_operator(database: Database, settings: CliSettings, email: str) -> int:
    """Make an account an operator. Returns the exit status."""
    if "@" not in email or len(email) > MAX_EMAIL_LENGTH:
        print(f"{email} is not an e-mail address.", file=sys.stderr)
        return 2
    operator = await OperatorStore(database).create(email)
    print(f"{email} is an operator: account {operator.account_id}")
    if operator.token:
        print(
            "Set the password within a day. Open this link, or send its token as `token` with\n"
            f"`new_password` to POST /auth/reset-password:\n"
            f"{link(str(settings.app_url), RESET_PASSWORD, operator.token)}"
        )
    return 0


async def change_role(database: Database, email: str, role: Role, *, is_granted: bool) -> int:
    """Grant or revoke a role. Returns the exit status."""
    account = await AccountStore(database).find(email)
    if account is None:
        print(f"No account has the address {email}.", file=sys.stderr)
        return 1
    store = RoleStore(database)
    change = store.grant if is_granted else store.revoke
    _print(await change(account.account_id, role, _ACTOR))
    return 0


async def erase(database: Database, account_id: UUID) -> int:
    """Delete an account and everything that belongs to it. Returns the exit status."""
    # The lifetime of tokens matters to the service, which does the rest.
    store = ErasureStore(database, token_seconds=0)
    try:
        erasure = await store.begin(account_id, "", actor_id=_ACTOR.actor_id)
    except AccountNotFound:
        print(f"No account has the id {account_id}.", file=sys.stderr)
        return 1
    print(erasure.erasure_id)
    return 0


async def revoke_client(database: Database, client_id: UUID) -> int:
    """Refuse the credentials of an internal client. Returns the exit status."""
    if await ClientStore(database).revoke(client_id, _ACTOR):
        return 0
    print(f"No internal client has the id {client_id}.", file=sys.stderr)
    return 1


async def list_accounts(database: Database, roles: Sequence[Role]) -> int:
    """Print the accounts with any of the roles, once each. Returns the exit status."""
    store, printed = AccountStore(database), set()
    for role in roles:
        before = None
        while page := await store.page(PAGE_SIZE, before, role=role):
            for account in page:
                if account.account_id not in printed:
                    printed.add(account.account_id)
                    _print(account)
            before = (page[-1].create_time, page[-1].account_id)
    return 0


async def rotate_keys(database: Database, *, revoke: bool) -> int:
    """Create the next signing key. Returns the exit status."""
    settings = AccountsSettings.read()
    keys = KeyRing(settings, KeyStore(database), settings.sealer())
    await keys.rotate_now(revoke=revoke)
    print("The new key signs now." if revoke else "The next key signs in ten minutes.")
    return 0


async def reencrypt(database: Database) -> int:
    """Encrypt everything with the present secret. Returns the exit status: 1 if values remain."""
    resealer = Resealer(SealedStore(database), AccountsSettings.read().sealer())
    keys, factors = await resealer.keys(), await resealer.factors()
    total = keys + factors
    print(f"Encrypted {keys.renewed} signing keys and {factors.renewed} second factors again.")
    print(f"{total.remaining} remain that the present ACCOUNTS_SECRET does not decrypt.")
    if total.changed:
        print(f"{total.changed} changed meanwhile: run the command again.")
    if total.broken:
        print(
            f"{total.broken} have another secret: set ACCOUNTS_SECRET_PREVIOUS to it, and run the "
            "command again."
        )
    return 1 if total.remaining else 0


def main() -> int:
    """Run one command. Returns the exit status."""
    arguments, settings = _parser().parse_args(), CliSettings.read()
    try:
        return asyncio.run(_run(settings, _command(arguments, settings)))
    except DatabaseUnavailable:
        print("PostgreSQL does not respond. Run the command again.", file=sys.stderr)
        return 1


async def _run(settings: CliSettings, command: Callable[[Database], Awaitable[int]]) -> int:
    async with Database(settings, f"{ACCOUNTS.name}-cli") as database:
        return await command(database)


def _command(
    arguments: argparse.Namespace, settings: CliSettings
) -> Callable[[Database], Awaitable[int]]:
    match arguments.command:
        case "create-operator":
            return lambda database: create_operator(database, settings, arguments.email)
        case "list":
            return lambda database: list_accounts(
                database, [arguments.role] if arguments.role else tuple(Role)
            )
        case "erase":
            return lambda database: erase(database, arguments.id)
        case "revoke-client":
            return lambda database: revoke_client(database, arguments.id)
        case "rotate-keys":
            return lambda database: rotate_keys(database, revoke=arguments.revoke)
        case "reencrypt":
            return reencrypt
        case command:
            return lambda database: change_role(
                database, arguments.email, arguments.role, is_granted=command == "grant-role"
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m services.accounts.cli",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    create = commands.add_parser("create-operator")
    create.add_argument("email", type=_email, metavar="EMAIL")
    for name in ("grant-role", "revoke-role"):
        change = commands.add_parser(name)
        change.add_argument("email", type=_email, metavar="EMAIL")
        change.add_argument("role", type=Role, choices=_ROLES, metavar="ROLE")
    for name, of in (("erase", "ACCOUNT_ID"), ("revoke-client", "ID")):
        commands.add_parser(name).add_argument("id", type=UUID, metavar=of)
    commands.add_parser("reencrypt")
    listing = commands.add_parser("list")
    listing.add_argument("role", type=Role, choices=_ROLES, nargs="?", metavar="ROLE")
    rotation = commands.add_parser("rotate-keys")
    rotation.add_argument("--revoke", action="store_true")
    return parser


def _email(text: str) -> str:
    return text.strip().lower()


def _print(account: Account) -> None:
    print(account.account_id, account.email or "(no address)", *account.roles)


if __name__ == "__main__":
    sys.exit(main())
