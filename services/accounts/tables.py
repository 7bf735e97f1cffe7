"""The tables of the `accounts` schema.

Secrets are never stored as they are: a random token is stored as its SHA-256, a password as its
argon2id hash, and a secret that the service needs again is sealed (`services.accounts.sealing`).
"""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.runtime.tables import metadata_of

metadata = metadata_of("accounts")


def _now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def _time(name: str, *, nullable: bool = True) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _length(column: str, minimum: int, maximum: int) -> CheckConstraint:
    return CheckConstraint(f"char_length({column}) BETWEEN {minimum} AND {maximum}", name=column)


def _account_id(*, primary_key: bool = False) -> Column[object]:
    return Column(
        "account_id",
        ForeignKey(accounts.c.account_id, ondelete="CASCADE"),
        primary_key=primary_key,
        nullable=False,
    )


# `email` is in lower case. It is null if a provider states none, and after the deletion.
# `totp_secret` is sealed; `totp_pending_secret` waits for its confirmation. `totp_step` is the
# time step of the last accepted code, so that no code is accepted twice. `totp_failures` counts
# wrong codes in a row; `totp_retry_time` is when the next code is allowed.
# `picture_key`, `picture_type` and `picture_size` are the object, the media type and the bytes of
# the picture; null without one.
# `delete_time` is when the learner deleted the account; the row follows when all services have
# erased what belongs to it.
accounts = Table(
    "accounts",
    metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("email", Text),
    Column("email_verified", Boolean, nullable=False, server_default="false"),
    Column("name", Text, nullable=False, server_default=""),
    Column("language", Text, nullable=False, server_default="ko"),
    Column("time_zone", Text, nullable=False, server_default="Asia/Seoul"),
    Column("picture_key", Text),
    Column("picture_type", Text),
    Column("picture_size", BigInteger),
    Column("password_hash", Text),
    _time("password_change_time"),
    Column("totp_secret", LargeBinary),
    Column("totp_pending_secret", LargeBinary),
    Column("totp_step", BigInteger, nullable=False, server_default="0"),
    Column("totp_failures", Integer, nullable=False, server_default="0"),
    _time("totp_retry_time"),
    _now("create_time"),
    _now("update_time"),
    _time("login_time"),
    _time("delete_time"),
    _length("email", 3, 254),
    CheckConstraint("email = lower(email)", name="email_lower"),
    _length("name", 0, 100),
    CheckConstraint("language IN ('ko', 'en')", name="language"),
    _length("time_zone", 1, 64),
    Index("uq_accounts_email", "email", unique=True, postgresql_where=text("email IS NOT NULL")),
    # Lists, the newest first.
    Index("ix_accounts_create_time", "create_time", "account_id"),
)

# Passkeys (WebAuthn). `sign_count` is that of the last use, so that a copy of the private key is
# noticed; 0 if the authenticator does not count.
passkeys = Table(
    "passkeys",
    metadata,
    Column("passkey_id", Uuid, primary_key=True),
    _account_id(),
    Column("credential_id", LargeBinary, nullable=False, unique=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("sign_count", BigInteger, nullable=False, server_default="0"),
    Column("is_backed_up", Boolean, nullable=False, server_default="false"),
    Column("name", Text, nullable=False, server_default=""),
    _now("create_time"),
    _time("use_time"),
    _length("name", 0, 100),
    CheckConstraint("octet_length(credential_id) BETWEEN 1 AND 1023", name="credential_id"),
    Index("ix_passkeys_account_id", "account_id"),
)

# Challenges that passkeys have to sign. Using one deletes it, so each is valid once. Only a
# registration knows its account.
passkey_challenges = Table(
    "passkey_challenges",
    metadata,
    Column("challenge", LargeBinary, primary_key=True),
    Column("purpose", Text, nullable=False),
    Column("account_id", ForeignKey(accounts.c.account_id, ondelete="CASCADE")),
    _time("expire_time", nullable=False),
    CheckConstraint("purpose IN ('registration', 'login', 'second_factor')", name="purpose"),
    CheckConstraint("(purpose = 'registration') = (account_id IS NOT NULL)", name="account_id"),
    Index("ix_passkey_challenges_account_id", "account_id"),
    Index("ix_passkey_challenges_expire_time", "expire_time"),
)

# S3 objects that were the picture of an account, or whose upload failed; they do not become the
# picture again. `due_time` is when the service next tries to delete the object; null when there is
# nothing to delete.
former_pictures = Table(
    "former_pictures",
    metadata,
    Column("object_key", Text, primary_key=True),
    _account_id(),
    _now("create_time"),
    _time("due_time"),
    Index("ix_former_pictures_account_id", "account_id"),
    Index("ix_former_pictures_due_time", "due_time", postgresql_where=text("due_time IS NOT NULL")),
)

# Codes that replace a second factor once.
recovery_codes = Table(
    "recovery_codes",
    metadata,
    _account_id(primary_key=True),
    Column("code_hash", LargeBinary, primary_key=True),
    _time("use_time"),
)

# The accounts at OpenID providers that log in to an account.
identities = Table(
    "identities",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    _account_id(),
    Column("email", Text, nullable=False, server_default=""),
    _now("create_time"),
    _time("login_time"),
    _length("provider", 1, 50),
    _length("subject", 1, 255),
    Index("ix_identities_account_id", "account_id"),
)

# A session is one login, and the family of its refresh tokens: `refresh_hash` is the hash of the
# one that is valid. `address` is the client's at the last refresh.
sessions = Table(
    "sessions",
    metadata,
    Column("session_id", Uuid, primary_key=True),
    _account_id(),
    Column("refresh_hash", LargeBinary, nullable=False, unique=True),
    Column("device", Text, nullable=False, server_default=""),
    Column("address", Text, nullable=False, server_default=""),
    _now("create_time"),
    _now("refresh_time"),
    _time("expire_time", nullable=False),
    _time("revoke_time"),
    _length("device", 0, 100),
    Index("ix_sessions_account_id", "account_id"),
    Index("ix_sessions_expire_time", "expire_time"),
    Index(
        "ix_sessions_revoke_time", "revoke_time", postgresql_where=text("revoke_time IS NOT NULL")
    ),
)

# Refresh tokens that were exchanged. `successor` is the token that replaced it, encrypted with a
# key that is derived from the used token, so that a repeated refresh gets the same answer.
used_refresh_tokens = Table(
    "used_refresh_tokens",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("session_id", ForeignKey(sessions.c.session_id, ondelete="CASCADE"), nullable=False),
    Column("successor", LargeBinary, nullable=False),
    Column("address", Text, nullable=False, server_default=""),
    _now("use_time"),
    Index("ix_used_refresh_tokens_session_id", "session_id"),
    Index("ix_used_refresh_tokens_use_time", "use_time"),
)

# Tokens of links in mails. Using one deletes it, so each is valid once. `email` is the address
# that the link was sent to. `sign_up` is what the account gets when the link of a sign-up
# verifies its address: password hash, name, language, time zone and guest.
mail_tokens = Table(
    "mail_tokens",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("purpose", Text, nullable=False),
    _account_id(),
    Column("email", Text, nullable=False),
    Column("sign_up", JSONB(none_as_null=True)),
    _now("create_time"),
    _time("expire_time", nullable=False),
    CheckConstraint(
        "purpose IN ('verify_email', 'change_email', 'reset_password')", name="purpose"
    ),
    CheckConstraint("sign_up IS NULL OR purpose = 'verify_email'", name="sign_up"),
    _length("email", 3, 254),
    Index("ix_mail_tokens_account_id", "account_id", "purpose"),
    Index("ix_mail_tokens_expire_time", "expire_time"),
)

# Mails to be sent. `occasion` is why; the process that sends a mail looks up whether the recipient
# has an account, writes the text and creates the token of the link. `account_id` is null where
# only the recipient is known. `attempts` numbers the claims, so that a process with an expired
# lease changes nothing. `due_time` is when the next attempt begins, or the lease of this one ends.
mails = Table(
    "mails",
    metadata,
    Column("mail_id", Uuid, primary_key=True),
    Column("account_id", ForeignKey(accounts.c.account_id, ondelete="CASCADE")),
    Column("occasion", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("sign_up", JSONB(none_as_null=True)),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _now("create_time"),
    _now("due_time"),
    _time("expire_time", nullable=False),
    CheckConstraint(
        "occasion IN ('sign_up', 'resend_verification', 'reset_password', 'change_email',"
        " 'password_changed', 'email_changed')",
        name="occasion",
    ),
    CheckConstraint("(occasion = 'sign_up') = (sign_up IS NOT NULL)", name="sign_up"),
    CheckConstraint("language IN ('ko', 'en')", name="language"),
    _length("recipient", 3, 254),
    Index("ix_mails_due_time", "due_time"),
    Index("ix_mails_account_id", "account_id"),
)

# Keys that sign access tokens. A key signs from its `activate_time` until that of the next key.
# `private_key` is sealed; `public_key` is its JWK.
signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("private_key", LargeBinary, nullable=False),
    Column("public_key", JSONB, nullable=False),
    _now("publish_time"),
    _time("activate_time", nullable=False),
    Index("ix_signing_keys_activate_time", "activate_time"),
)

# Counters of attempts, such as logins. `key` is a hash of what is limited and for whom. `time` is
# that of the last attempt; `is_known` is whether an attempt has succeeded.
attempts = Table(
    "attempts",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("count", Integer, nullable=False),
    _now("time"),
    Column("is_known", Boolean, nullable=False, server_default="false"),
    _time("expire_time", nullable=False),
    Index("ix_attempts_expire_time", "expire_time"),
)

# `granted_by` is the id of an account or client, or "command".
roles = Table(
    "roles",
    metadata,
    _account_id(primary_key=True),
    Column("role", Text, primary_key=True),
    _now("grant_time"),
    Column("granted_by", Text, nullable=False),
    CheckConstraint("role IN ('catalog_editor', 'operator')", name="role"),
    Index("ix_roles_role", "role", "account_id"),
)

# Programs of internal teams that get tokens with their own credentials.
clients = Table(
    "clients",
    metadata,
    Column("client_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    _now("create_time"),
    Column("created_by", Text, nullable=False),
    _time("revoke_time"),
    _length("name", 1, 100),
)

# The audit log. A trigger refuses changes of its rows, except that an erasure removes the
# address. `detail` has no personal data.
audit = Table(
    "audit",
    metadata,
    Column("entry_id", BigInteger, Identity(always=True), primary_key=True),
    _now("time"),
    Column("actor_id", Text, nullable=False),
    # Not a foreign key: the entry outlives the account.
    Column("account_id", Text, nullable=False, server_default=""),
    Column("action", Text, nullable=False),
    Column("detail", Text, nullable=False, server_default=""),
    Column("address", Text, nullable=False, server_default=""),
    Index("ix_audit_account_id", "account_id", "entry_id"),
    Index("ix_audit_actor_id", "actor_id"),
)

# Receipts of deleted accounts. `account_id` is null when everything was erased. `due_time` is when
# the next attempt begins, null when everything was erased.
erasures = Table(
    "erasures",
    metadata,
    Column("erasure_id", Uuid, primary_key=True),
    # Not a foreign key: the receipt outlives the account.
    Column("account_id", Uuid, unique=True),
    _now("request_time"),
    _time("deadline", nullable=False),
    _time("complete_time"),
    Column("erased_analyses", Integer, nullable=False, server_default="0"),
    Column("erased_uploads", Integer, nullable=False, server_default="0"),
    _time("due_time"),
    CheckConstraint("(complete_time IS NULL) = (account_id IS NOT NULL)", name="account_id"),
    CheckConstraint("(complete_time IS NULL) = (due_time IS NOT NULL)", name="due_time"),
    Index("ix_erasures_due_time", "due_time", postgresql_where=text("due_time IS NOT NULL")),
)

# Guests whose takes an account receives. `due_time` is when the next attempt begins; null before
# the account's first login. `adopt_time` is when the takes changed their owner; a second attempt
# finds those that the guest was still uploading.
adoptions = Table(
    "adoptions",
    metadata,
    Column("guest_owner_id", Text, primary_key=True),
    _account_id(),
    _now("create_time"),
    _time("due_time"),
    _time("adopt_time"),
    CheckConstraint("guest_owner_id LIKE 'guest:%'", name="guest_owner_id"),
    Index("ix_adoptions_account_id", "account_id"),
    Index("ix_adoptions_due_time", "due_time", postgresql_where=text("due_time IS NOT NULL")),
)
