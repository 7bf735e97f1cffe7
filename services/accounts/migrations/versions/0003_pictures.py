"""pictures: accounts name their picture, an object in S3.

The columns take a moment, however many rows the table holds. Services of the former release
continue; an account that they delete keeps its picture until the erasure ends.
After a failure, run the migration again; it starts from the beginning.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COLUMNS = (("picture_key", "text"), ("picture_type", "text"), ("picture_size", "bigint"))

TABLE = """
    CREATE TABLE accounts.former_pictures (
        object_key text NOT NULL,
        account_id uuid NOT NULL,
        create_time timestamptz NOT NULL DEFAULT now(),
        due_time timestamptz,
        CONSTRAINT pk_former_pictures PRIMARY KEY (object_key),
        CONSTRAINT fk_former_pictures_account_id_accounts FOREIGN KEY (account_id)
            REFERENCES accounts.accounts (account_id) ON DELETE CASCADE
    )
    """
INDEXES = (
    "CREATE INDEX ix_former_pictures_account_id ON accounts.former_pictures (account_id)",
    "CREATE INDEX ix_former_pictures_due_time ON accounts.former_pictures (due_time)"
    " WHERE due_time IS NOT NULL",
)


def upgrade() -> None:
    """Go forward."""
    # Fail and try again, rather than make all queries wait behind a waiting lock.
    op.execute("SET LOCAL lock_timeout = '5s'")
    for name, type_ in COLUMNS:
        op.execute(f"ALTER TABLE accounts.accounts ADD COLUMN {name} {type_}")
    for statement in (TABLE, *INDEXES):
        op.execute(statement)


def downgrade() -> None:
    """Go back; accounts lose their pictures, and S3 keeps the objects."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP TABLE accounts.former_pictures")
    for name, _ in COLUMNS:
        op.execute(f"ALTER TABLE accounts.accounts DROP COLUMN {name}")
