"""passkeys: key pairs that log in to an account, and the challenges that they sign.

Services of the former release continue; they know no passkeys.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE accounts.passkeys (
        passkey_id uuid NOT NULL,
        account_id uuid NOT NULL,
        credential_id bytea NOT NULL,
        public_key bytea NOT NULL,
        sign_count bigint NOT NULL DEFAULT 0,
        is_backed_up boolean NOT NULL DEFAULT false,
        name text NOT NULL DEFAULT '',
        create_time timestamptz NOT NULL DEFAULT now(),
        use_time timestamptz,
        CONSTRAINT pk_passkeys PRIMARY KEY (passkey_id),
        CONSTRAINT uq_passkeys_credential_id UNIQUE (credential_id),
        CONSTRAINT ck_passkeys_name CHECK (char_length(name) BETWEEN 0 AND 100),
        CONSTRAINT ck_passkeys_credential_id
            CHECK (octet_length(credential_id) BETWEEN 1 AND 1023),
        CONSTRAINT fk_passkeys_account_id FOREIGN KEY (account_id)
            REFERENCES accounts.accounts (account_id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE accounts.passkey_challenges (
        challenge bytea NOT NULL,
        purpose text NOT NULL,
        account_id uuid,
        expire_time timestamptz NOT NULL,
        CONSTRAINT pk_passkey_challenges PRIMARY KEY (challenge),
        CONSTRAINT ck_passkey_challenges_purpose
            CHECK (purpose IN ('registration', 'login', 'second_factor')),
        CONSTRAINT ck_passkey_challenges_account_id
            CHECK ((purpose = 'registration') = (account_id IS NOT NULL)),
        CONSTRAINT fk_passkey_challenges_account_id FOREIGN KEY (account_id)
            REFERENCES accounts.accounts (account_id) ON DELETE CASCADE
    )
    """,
)
INDEXES = (
    ("passkeys", "account_id"),
    ("passkey_challenges", "account_id"),
    ("passkey_challenges", "expire_time"),
)


def upgrade() -> None:
    """Go forward."""
    # The foreign keys lock the accounts for a moment. Fail and try again, rather than make all
    # queries wait behind a waiting lock.
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in TABLES:
        op.execute(table)
    for name, column in INDEXES:
        op.execute(f"CREATE INDEX ix_{name}_{column} ON accounts.{name} ({column})")


def downgrade() -> None:
    """Go back; accounts lose their passkeys."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("passkey_challenges", schema="accounts")
    op.drop_table("passkeys", schema="accounts")
