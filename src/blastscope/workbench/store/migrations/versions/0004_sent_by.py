"""Who sent each file; of those that are there, nobody can say."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. By hand: Alembic would copy the table on SQLite, and fields refer to it."""
    op.execute(
        "ALTER TABLE upload ADD COLUMN sent_by INTEGER "
        "CONSTRAINT fk_upload_sent_by REFERENCES person (id)"
    )
