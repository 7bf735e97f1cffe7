"""Converting rows to domain objects."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, exists, func, select

from services.accounts.models import Account, Picture, Role
from services.accounts.tables import accounts, identities, passkeys, roles

ROLES = func.array(
    select(roles.c.role)
    .where(roles.c.account_id == accounts.c.account_id)
    .order_by(roles.c.role)
    .correlate(accounts)
    .scalar_subquery()
)
HAS_PASSKEY = exists().where(passkeys.c.account_id == accounts.c.account_id).correlate(accounts)
HAS_SECOND_FACTOR = accounts.c.totp_secret.is_not(None) | HAS_PASSKEY
_PROVIDERS = func.array(
    select(identities.c.provider)
    .where(identities.c.account_id == accounts.c.account_id)
    .order_by(identities.c.provider)
    .correlate(accounts)
    .scalar_subquery()
)


def select_accounts() -> Select[Any]:
    """A query of the accounts that are not deleted, whose rows `account_of` converts."""
    return select(
        accounts.c.account_id,
        accounts.c.email,
        accounts.c.email_verified,
        accounts.c.name,
        accounts.c.language,
        accounts.c.time_zone,
        accounts.c.create_time,
        accounts.c.picture_key,
        accounts.c.picture_type,
        accounts.c.picture_size,
        accounts.c.password_hash.is_not(None).label("has_password"),
        accounts.c.totp_secret.is_not(None).label("has_totp"),
        HAS_PASSKEY.label("has_passkey"),
        ROLES.label("roles"),
        _PROVIDERS.label("providers"),
    ).where(accounts.c.delete_time.is_(None))


def account_of(row: Any) -> Account:
    """The account in a row of `select_accounts`."""
    values = dict(row)
    key, content_type, size = [values.pop(f"picture_{name}") for name in ("key", "type", "size")]
    return Account(
        **{
            **values,
            "roles": tuple(map(Role, values["roles"])),
            "providers": tuple(values["providers"]),
            "picture": None if key is None else Picture(key, content_type, size),
        }
    )
