"""Accounts, sessions, keys, roles and deletions."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE accounts.accounts (
        account_id uuid NOT NULL,
        email text,
        email_verified boolean NOT NULL DEFAULT false,
        name text NOT NULL DEFAULT '',
        language text NOT NULL DEFAULT 'ko',
        time_zone text NOT NULL DEFAULT 'Asia/Seoul',
        password_hash text,
        password_change_time timestamptz,
        totp_secret bytea,
        totp_pending_secret bytea,
        totp_step bigint NOT NULL DEFAULT 0,
        totp_failures integer NOT NULL DEFAULT 0,
        totp_retry_time timestamptz,
        create_time timestamptz NOT NULL DEFAULT now(),
        update_time timestamptz NOT NULL DEFAULT now(),
        login_time timestamptz,
        delete_time timestamptz,
        CONSTRAINT pk_accounts PRIMARY KEY (account_id),
        CONSTRAINT ck_accounts_email CHECK (char_length(email) BETWEEN 3 AND 254),
        CONSTRAINT ck_accounts_email_lower CHECK (email = lower(email)),
        CONSTRAINT ck_accounts_name CHECK (char_length(name) BETWEEN 0 AND 100),
        CONSTRAINT ck_accounts_language CHECK (language IN ('ko', 'en')),
        CONSTRAINT ck_accounts_time_zone CHECK (char_length(time_zone) BETWEEN 1 AND 64)
    )
    """,
    """
    CREATE TABLE accounts.recovery_codes (
        account_id uuid NOT NULL,
        code_hash bytea NOT NULL,
        use_time timestamptz,
        CONSTRAINT pk_recovery_codes PRIMARY KEY (account_id, code_hash),
        CONSTRAINT fk_recovery_codes_account_id FOREIGN KEY (account_id)
            REFERENCES accounts.accounts (account_id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE accounts.identities (
        provider text NOT NULL,
        subject text NOT NULL,
        account_id uuid NOT NULL,
        email text NOT NULL DEFAULT '',
        create_time timestamptz NOT NULL DEFAULT now(),
        login_time timestamptz,
        CONSTRAINT pk_identities PRIMARY KEY (provider, subject),
        CONSTRAINT ck_identities_provider CHECK (char_length(provider) BETWEEN 1 AND 50),
        CONSTRAINT ck_identities_subject CHECK (char_length(subject) BETWEEN 1 AND 255),
        CONSTRAINT fk_identities_account_id FOREIGN KEY (account_id)
            REFERENCES accounts.accounts (account_id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE accounts.sessions (
        session_id uuid NOT NULL,
        account_id uuid NOT NULL,
        refresh_hash bytea NOT NULL,
        device text NOT NULL DEFAULT '',
        address text NOT NULL DEFAULT '',
        create_time timestamptz NOT NULL DEFAULT now(),
        refresh_time timestamptz NOT NULL DEFAULT now(),
        expire_time timestamptz NOT NULL,
        revoke_time timestamptz,
        CONSTRAINT pk_sessions PRIMARY KEY (session_id),
        CONSTRAINT uq_sessions_refresh_hash UNIQUE (refresh_hash),
        CONSTRAINT ck_sessions_device CHECK (char_length(device) BETWEEN 0 AND 100),
        CONSTRAINT fk_sessions_account_id FOREIGN KEY (account_id)
            REFERENCES accounts.accounts (account_id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE accounts.used_refresh_tokens (
        token_hash bytea NOT NULL,
        session_id uuid NOT NULL,
        successor bytea NOT NULL,
        address text NOT NULL DEFAULT '',
        use_time timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT pk_used_refresh_tokens PRIMARY KEY (token_hash),
        CONSTRAINT fk_used_refresh_tokens_session_id FOREIGN KEY (session_id)
            REFERENCES accounts.sessions (session_id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE accounts.mail_tokens (
        token_hash bytea NOT NULL,
        purpose text NOT NULL,
        account_id uuid NOT NULL,
        email text NOT NULL,
        sign_up jsonb,
        create_time timestamptz NOT NULL DEFAULT now(),
        expire_time timestamptz NOT NULL,
        CONSTRAINT pk_mail_tokens PRIMARY KEY (token_hash),
        CONSTRAINT ck_mail_tokens_purpose
            CHECK (purpose IN ('verify_email', 'change_email', 'reset_password')),
        CONSTRAINT ck_mail_tokens_sign_up CHECK (sign_up IS NULL OR purpose = 'verify_email'),
        CONSTRAINT ck_mail_tokens_email CHECK (char_length(email) BETWEEN 3 AND 254),
        CONSTRAINT fk_mail_tokens_account_id FOREIGN KEY (account_id)
            REFERENCES accounts.accounts (account_id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE accounts.mails (
        mail_id uuid NOT NULL,
        account_id uuid,
        occasion text NOT NULL,
        recipient text NOT NULL,
        language text NOT NULL,
        sign_up jsonb,
        attempts integer NOT NULL DEFAULT 0,
        create_time timestamptz NOT NULL DEFAULT now(),
        due_time timestamptz NOT NULL DEFAULT now(),
        expire_time timestamptz NOT NULL,
        CONSTRAINT pk_mails PRIMARY KEY (mail_id),
        CONSTRAINT ck_mails_occasion CHECK (
            occasion IN ('sign_up', 'resend_verification', 'reset_password', 'change_email',
                'password_changed', 'email_changed')
        ),
        CONSTRAINT ck_mails_sign_up CHECK ((occasion = 'sign_up') = (sign_up IS NOT NULL)),
        CONSTRAINT ck_mails_language CHECK (language IN ('ko', 'en')),
        CONSTRAINT ck_mails_recipient CHECK (char_length(recipient) BETWEEN 3 AND 254),
        CONSTRAINT fk_mails_account_id FOREIGN KEY (account_id)
            REFERENCES accounts.accounts (account_id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE accounts.signing_keys (
        kid text NOT NULL,
        private_key bytea NOT NULL,
        public_key jsonb NOT NULL,
        publish_time timestamptz NOT NULL DEFAULT now(),
        activate_time timestamptz NOT NULL,
        CONSTRAINT pk_signing_keys PRIMARY KEY (kid)
    )
    """,
    """
    CREATE TABLE accounts.attempts (
        key bytea NOT NULL,
        count integer NOT NULL,
        time timestamptz NOT NULL DEFAULT now(),
        is_known boolean NOT NULL DEFAULT false,
        expire_time timestamptz NOT NULL,
        CONSTRAINT pk_attempts PRIMARY KEY (key)
    )
    """,
    """
    CREATE TABLE accounts.roles (
        account_id uuid NOT NULL,
        role text NOT NULL,
        grant_time timestamptz NOT NULL DEFAULT now(),
        granted_by text NOT NULL,
        CONSTRAINT pk_roles PRIMARY KEY (account_id, role),
        CONSTRAINT ck_roles_role CHECK (role IN ('catalog_editor', 'operator')),
        CONSTRAINT fk_roles_account_id FOREIGN KEY (account_id)
            REFERENCES accounts.accounts (account_id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE accounts.clients (
        client_id uuid NOT NULL,
        name text NOT NULL,
        secret_hash bytea NOT NULL,
        roles text[] NOT NULL,
        create_time timestamptz NOT NULL DEFAULT now(),
        created_by text NOT NULL,
        revoke_time timestamptz,
        CONSTRAINT pk_clients PRIMARY KEY (client_id),
        CONSTRAINT ck_clients_name CHECK (char_length(name) BETWEEN 1 AND 100)
    )
    """,
    """
    CREATE TABLE accounts.audit (
        entry_id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
        time timestamptz NOT NULL DEFAULT now(),
        actor_id text NOT NULL,
        account_id text NOT NULL DEFAULT '',
        action text NOT NULL,
        detail text NOT NULL DEFAULT '',
        address text NOT NULL DEFAULT '',
        CONSTRAINT pk_audit PRIMARY KEY (entry_id)
    )
    """,
    """
    CREATE TABLE accounts.erasures (
        erasure_id uuid NOT NULL,
        account_id uuid,
        request_time timestamptz NOT NULL DEFAULT now(),
        deadline timestamptz NOT NULL,
        complete_time timestamptz,
        erased_analyses integer NOT NULL DEFAULT 0,
        erased_uploads integer NOT NULL DEFAULT 0,
        due_time timestamptz,
        CONSTRAINT pk_erasures PRIMARY KEY (erasure_id),
        CONSTRAINT uq_erasures_account_id UNIQUE (account_id),
        CONSTRAINT ck_erasures_account_id
            CHECK ((complete_time IS NULL) = (account_id IS NOT NULL)),
        CONSTRAINT ck_erasures_due_time CHECK ((complete_time IS NULL) = (due_time IS NOT NULL))
    )
    """,
    """
    CREATE TABLE accounts.adoptions (
        guest_owner_id text NOT NULL,
        account_id uuid NOT NULL,
        create_time timestamptz NOT NULL DEFAULT now(),
        due_time timestamptz,
        adopt_time timestamptz,
        CONSTRAINT pk_adoptions PRIMARY KEY (guest_owner_id),
        CONSTRAINT ck_adoptions_guest_owner_id CHECK (guest_owner_id LIKE 'guest:%'),
        CONSTRAINT fk_adoptions_account_id FOREIGN KEY (account_id)
            REFERENCES accounts.accounts (account_id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE accounts.provider_logins (
        state_hash bytea NOT NULL,
        provider text NOT NULL,
        secrets bytea NOT NULL,
        return_to text NOT NULL,
        guest_owner_id text NOT NULL DEFAULT '',
        create_time timestamptz NOT NULL DEFAULT now(),
        expire_time timestamptz NOT NULL,
        CONSTRAINT pk_provider_logins PRIMARY KEY (state_hash),
        CONSTRAINT ck_provider_logins_return_to CHECK (char_length(return_to) BETWEEN 0 AND 2000)
    )
    """,
)

INDEXES = {
    "accounts": ("create_time, account_id",),
    "identities": ("account_id",),
    "sessions": ("account_id", "expire_time", "revoke_time"),
    "used_refresh_tokens": ("session_id", "use_time"),
    "mail_tokens": ("account_id, purpose", "expire_time"),
    "mails": ("due_time", "account_id"),
    "signing_keys": ("activate_time",),
    "attempts": ("expire_time",),
    "roles": ("role, account_id",),
    "audit": ("account_id, entry_id", "actor_id"),
    "erasures": ("due_time",),
    "adoptions": ("account_id", "due_time"),
    "provider_logins": ("expire_time",),
}
"""The columns of each index; it is named after its table and first column."""

PARTIAL = {"sessions": "revoke_time", "erasures": "due_time", "adoptions": "due_time"}
"""The column of each table whose index leaves out rows where it is null."""

# Rows are never changed, except that an erasure removes the address.
REFUSE_CHANGES = """
CREATE FUNCTION accounts.refuse_audit_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND new.address = ''
        AND to_jsonb(new) - 'address' = to_jsonb(old) - 'address' THEN
        RETURN new;
    END IF;
    RAISE EXCEPTION 'rows of the audit log cannot be changed';
END
$$
"""


def upgrade() -> None:
    """Migrate to this revision."""
    for table in TABLES:
        op.execute(table)
    op.execute(
        "CREATE UNIQUE INDEX uq_accounts_email ON accounts.accounts (email) WHERE email IS NOT NULL"
    )
    for table, indexes in INDEXES.items():
        for columns in indexes:
            first = columns.partition(",")[0]
            where = f" WHERE {first} IS NOT NULL" if PARTIAL.get(table) == first else ""
            op.execute(f"CREATE INDEX ix_{table}_{first} ON accounts.{table} ({columns}){where}")
    op.execute(REFUSE_CHANGES)
    op.execute(
        "CREATE TRIGGER refuse_changes BEFORE UPDATE OR DELETE ON accounts.audit"
        " FOR EACH ROW EXECUTE FUNCTION accounts.refuse_audit_changes()"
    )


def downgrade() -> None:
    """Migrate back to the previous revision."""
    for table in (
        *("provider_logins", "adoptions", "erasures", "audit", "clients", "roles", "attempts"),
        *("signing_keys", "mails", "mail_tokens", "used_refresh_tokens", "sessions"),
        *("identities", "recovery_codes", "accounts"),
    ):
        op.drop_table(table, schema="accounts")
    op.execute("DROP FUNCTION accounts.refuse_audit_changes()")
