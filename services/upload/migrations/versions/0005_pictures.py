"""pictures: an upload can become the picture of an account.

The new check holds at once for new rows, and validating it does not lock out writes. Services of
the former release continue; they cannot read the rows of pictures, which the new ones reap.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KINDS = ("recording", "partial", "asset")


def upgrade() -> None:
    """Go forward."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    _replace_check((*KINDS, "picture"))
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE upload.uploads VALIDATE CONSTRAINT ck_uploads_kind")


def downgrade() -> None:
    """Go back; uploads of pictures are forgotten, and S3 keeps their bytes."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DELETE FROM upload.uploads WHERE kind = 'picture'")
    _replace_check(KINDS)


def _replace_check(kinds: tuple[str, ...]) -> None:
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    op.execute(
        "ALTER TABLE upload.uploads DROP CONSTRAINT ck_uploads_kind, ADD CONSTRAINT ck_uploads_kind"
        f" CHECK (kind IN ({listed})) NOT VALID"
    )
